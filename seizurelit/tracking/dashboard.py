"""The dashboard of a run on wandb: its tables, its folds by model, its curves and what they cost, as one saved view."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from seizurelit.config import RESEARCH_USE
from seizurelit.errors import InputError, RunError
from seizurelit.tracking.wandb_runs import REPORT, STAND_IN

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

TABLES = {"results": "Table", "predictions": "Every prediction", "folds": "Folds", "confusion": "Confusion matrices"}
"""wandb's tables of the summary, and what they are called."""


def definition(group: str, *, entity: str, project: str = "seizurelit", stand_in: bool = False) -> Workspace:
    """The view of one group of runs; nothing is sent.

    Args:
        group: name of the run, or of the sweep, as wandb has it.
        entity: wandb's team or user.
        project: wandb's project.
        stand_in: say STAND-IN COHORT.

    Raises:
        InputError: wandb-workspaces is not installed.
    """
    if find_spec("wandb_workspaces") is None:
        msg = "wandb-workspaces is not installed; uv pip install 'wandb-workspaces>=0.4'"
        raise InputError(msg)
    import wandb_workspaces.reports.v2 as wr  # noqa: PLC0415 - no part of the core
    import wandb_workspaces.workspaces as ws  # noqa: PLC0415 - likewise

    wide = wr.Layout(w=24, h=10)
    model, fold = wr.Config("model"), wr.Config("fold")
    said = [
        *([f"**{STAND_IN}**: synthetic people, no clinical data."] if stand_in else []),
        RESEARCH_USE,
        f"Subjects and seizures are keyed pseudonyms. `{REPORT}` is in the artifact of the run *summary*.",
    ]
    sections = [
        ws.Section(
            name="Table",
            is_open=True,
            panels=[
                wr.MarkdownPanel(markdown="\n\n".join(said), layout=wr.Layout(w=24, h=4)),
                *(wr.WeavePanelSummaryTable(table_name=name, layout=wide) for name in TABLES),
            ],
        ),
        ws.Section(
            name="Folds",
            is_open=True,
            panels=[
                wr.BarPlot(
                    title="Accuracy of a fold, by model",
                    metrics=["fold/accuracy"],
                    groupby=model,
                    groupby_aggfunc="mean",
                ),
                wr.BarPlot(
                    title="Accuracy, by held-out subject",
                    metrics=["fold/accuracy"],
                    groupby=fold,
                    groupby_aggfunc="mean",
                ),
                wr.BarPlot(title="Threshold, by model", metrics=["fold/threshold"], groupby=model),
            ],
        ),
        ws.Section(
            name="Curves",
            is_open=True,
            panels=[
                wr.LinePlot(
                    title=title, x="epoch", y=[name], groupby=model, groupby_aggfunc="mean", groupby_rangefunc="stddev"
                )
                for name, title in (("train_loss", "Training loss"), ("train_accuracy", "Training accuracy"))
            ],
        ),
        ws.Section(
            name="Cost",
            panels=[
                wr.BarPlot(title="Seconds a training", metrics=["job/seconds"], groupby=model),
                wr.BarPlot(title="Memory, MB", metrics=["job/peak_memory_mb"], groupby=model),
            ],
        ),
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"{STAND_IN} {group}" if stand_in else group,
        sections=sections,
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("Group") == group],
            groupby=[ws.Config("sign"), ws.Config("stream"), ws.Config("model")],
        ),
    )


def save(view: Workspace) -> str:
    """Save a view on wandb.

    Returns:
        Its address.

    Raises:
        RunError: wandb cannot be reached, or does not take it.
    """
    try:
        view.save()
    except Exception as error:
        msg = f"wandb did not take the dashboard: {' '.join(str(error).split())[:300]}; is there an API key, and is it online?"
        raise RunError(msg) from None
    return str(view.url)
