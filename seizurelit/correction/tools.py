"""What CVAT and Label Studio want beside the COCO file: labels to paste, tasks to import, and how to go about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from seizurelit.config import RESEARCH_USE
from seizurelit.correction import coco

# Where the joints stand in the drawing of a new skeleton, in per cent of its size.
_BODY_DRAWING = (
    *((50, 70), (50, 30), (50, 12)),
    *((65, 30), (72, 48), (75, 65), (35, 30), (28, 48), (25, 65), (60, 72), (40, 72)),
)
_FACE_DRAWING = (
    *((15, 25), (25, 18), (40, 22), (60, 22), (75, 18), (85, 25)),
    *((20, 38), (26, 34), (40, 38), (30, 41), (60, 38), (74, 34), (80, 38), (70, 41)),
    *((50, 58), (42, 62), (58, 62)),
    *((32, 78), (50, 73), (68, 78), (50, 88), (50, 77), (50, 82)),
)


def companions(content: Mapping[str, Any]) -> dict[Path, str]:
    """The files that stand beside an export's COCO file, by their paths in its folder.

    Args:
        content: of the COCO file.
    """
    return {
        Path("cvat_labels.json"): json.dumps(cvat_labels(), indent=1),
        Path("label_studio.xml"): label_studio_config(),
        Path("label_studio.json"): json.dumps(label_studio_tasks(content), ensure_ascii=False, indent=1),
        Path("README.txt"): _README.format(use=RESEARCH_USE),
    }


def cvat_labels() -> list[dict[str, Any]]:
    """The labels of a CVAT task, for the tab Raw of its constructor: two skeletons."""
    labels = []
    for (name, (_, skeleton)), drawing in zip(coco.CATEGORIES.items(), (_BODY_DRAWING, _FACE_DRAWING), strict=True):
        lines = "".join(
            f'<line x1="{drawing[parent][0]}" y1="{drawing[parent][1]}" x2="{drawing[child][0]}" y2="{drawing[child][1]}" '
            f'stroke="black" data-type="edge" data-node-from="{parent + 1}" data-node-to="{child + 1}" '
            'stroke-width="0.5"></line>'
            for child, parent in skeleton.bones
        )
        circles = "".join(
            f'<circle r="1.5" stroke="black" fill="#b3b3b3" cx="{x}" cy="{y}" stroke-width="0.1" data-type="element node" '
            f'data-element-id="{joint}" data-node-id="{joint}" data-label-name="{skeleton.joints[joint - 1]}"></circle>'
            for joint, (x, y) in enumerate(drawing, start=1)
        )
        points = [{"name": joint, "type": "points", "attributes": []} for joint in skeleton.joints]
        labels.append({"name": name, "type": "skeleton", "attributes": [], "svg": lines + circles, "sublabels": points})
    return labels


def label_studio_config() -> str:
    """The labelling interface of a Label Studio project.

    Its COCO export wants `model_index` on every point, and is offered only where there are rectangles too.
    """
    joints = [joint for _, skeleton in coco.CATEGORIES.values() for joint in skeleton.joints]
    points = "\n".join(
        f'    <Label value={quoteattr(joint)} model_index="{index}"/>' for index, joint in enumerate(joints)
    )
    boxes = "\n".join(f'    <Label value="{name}"/>' for name in coco.CATEGORIES)
    return f"""<View>
  <Image name="image" value="$image" zoom="true"/>
  <KeyPointLabels name="points" toName="image" strokeWidth="3">
{points}
  </KeyPointLabels>
  <RectangleLabels name="boxes" toName="image">
{boxes}
  </RectangleLabels>
</View>
"""


def label_studio_tasks(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One task a picture, with its points as a prediction, which becomes an annotation once a person has submitted it."""
    names = {category["id"]: category["keypoints"] for category in content["categories"]}
    found: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    for annotation in content["annotations"]:
        width, height = sizes[annotation["image_id"]]
        triples = zip(*(iter(annotation["keypoints"]),) * 3, strict=True)
        for joint, (x, y, visibility) in zip(names[annotation["category_id"]], triples, strict=True):
            if visibility:
                point = {"x": 100 * x / width, "y": 100 * y / height, "width": 0.5, "keypointlabels": [joint]}
                found[annotation["image_id"]].append(
                    {
                        "id": f"{annotation['id']}-{joint.replace(' ', '-')}",
                        "type": "keypointlabels",
                        "from_name": "points",
                        "to_name": "image",
                        "original_width": width,
                        "original_height": height,
                        "image_rotation": 0,
                        "value": point,
                    }
                )
    return [
        {
            "data": {"image": f"/data/local-files/?d=images/{image['file_name']}"},
            "predictions": [{"model_version": "extraction", "result": found[image["id"]]}],
        }
        for image in content["images"]
    ]


_README = """THIS FOLDER HOLDS PATIENT FOOTAGE WITH FACES, AND NAMES OF SUBJECTS AND SEIZURES. IT MUST STAY ON THIS MACHINE,
OR ON ONE THAT IS APPROVED FOR THE DATA. Use a CVAT or Label Studio that runs there, never a public server. Delete the
folder when the corrections are back in the cache.

{use}

  images/                                     the pictures, the least certain first: RANK_SEIZURE_FRAME.jpg
  annotations/person_keypoints_default.json   what was found in them, as COCO keypoints
  cvat_labels.json                            the labels for CVAT
  label_studio.xml, label_studio.json         the labelling interface and the tasks for Label Studio

What to do with a picture: drag each point to where it belongs. "left" is the patient's left. The category person has 11
joints (head is the tip of the nose, neck the middle between the shoulders, pelvis the middle between the hips); face has
23 landmarks with their numbers in the iBUG scheme. A joint under a blanket, of which you know where it is: put it there and
mark it occluded. A point that should not be there: mark it outside (CVAT) or delete it (Label Studio). No file
name may change: pictures are told by it. A picture whose annotation is deleted counts as not reviewed.

CVAT
1. Create a task. Under Labels choose Raw, paste cvat_labels.json, Done. Under Files take all of images/. Submit.
2. In the task: Actions, Upload annotations, COCO Keypoints 1.0, annotations/person_keypoints_default.json.
3. Correct, save.
4. Actions, Export task dataset, COCO Keypoints 1.0, without images. The zip file has annotations/person_keypoints_*.json.

Label Studio
1. Start it with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=this folder.
2. Create a project. Under Labeling Setup, Custom template, Code, paste label_studio.xml. Under Settings, Cloud Storage, add
   Local files with the path of images/, without syncing it. Import label_studio.json.
3. Correct each task and submit it. What is not submitted counts as not reviewed.
4. Export, COCO: result.json.

Then
  python -m seizurelit.review import --cache DIR --corrected FILE.json

Only points that were moved by more than half a pixel, added or removed are written into the cache, with confidence 1. The
same file can be imported again without harm.
"""
