"""TRIPOD+AI and CLAIM, item by item: what a run's own records answer, and what is the author's to write.

Collins et al., TRIPOD+AI statement, BMJ 2024;385:e078378; Mongan et al., CLAIM, Radiology: AI 2020;2(2):e200029. The topics are
in our words; the statements are to be read with them.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import seizurelit
from seizurelit.config import Training
from seizurelit.evaluation.statistics.intervals import LEVEL, RESAMPLES
from seizurelit.reporting.evidence import Evidence


class Item(NamedTuple):
    """One item of a checklist; the answer is None where the author has to write it."""

    number: str
    topic: str
    answer: str | None


_TRIPOD = """
1 title|Title: model development or evaluation, population, outcome
2|Abstract, by TRIPOD+AI for Abstracts
3a|Health-care context and rationale
3b|Target population, intended purpose and users
3c|Known health inequalities
4 objectives|Objectives: development or evaluation
5a sources|Sources of the data
5b|Dates of the data
6a|Setting and centres
6b eligibility|Eligibility of participants
6c|Treatments received
7 preparation|Preparation and quality checks of the data
8a outcome|Outcome: definition and assessment
8b|Qualifications of the outcome's assessors
8c|Blinding of the outcome's assessment
9a choice|Choice of initial predictors
9b predictors|Definition of the predictors
9c|Assessors of subjective predictors
10 size|Sample size
11 missing|Missing data
12a analysis|Use of the data: development and evaluation
12b handling|Handling of predictors: rescaling, transformation
12c model|Type of model, building steps, tuning, internal validation
12d clusters|Heterogeneity across clusters
12e measures|Measures and plots of performance
12f updating|Updating of the model
12g calculated|How predictions were calculated
13 imbalance|Class imbalance
14 fairness|Fairness
15 output|Output of the model, thresholds
16 difference|Differences between development and evaluation data
17|Ethical approval
18a|Funding
18b|Conflicts of interest
18c|Protocol
18d|Registration
18e|Sharing of data
18f code|Sharing of code
19|Patient and public involvement
20a flow|Flow of participants
20b characteristics|Characteristics of participants
20c difference|Comparison with the development data
21 size|Participants and outcomes in each analysis
22 specification|Specification of the full model
23a performance|Performance with intervals, in subgroups
23b heterogeneity|Heterogeneity of performance across clusters
24 updating|Results of updating
25|Interpretation, fairness among it
26 limits|Limitations
27a input|Poor or missing input data when used
27b|Users' interaction and expertise
27c|Next steps
"""

_CLAIM = """
1 title|Title: AI methodology and category of technology
2|Structured summary
3|Background, intended use and clinical role
4 objectives|Objectives and hypotheses
5|Prospective or retrospective
6 objectives|Goal of the study
7 sources|Sources of the data
8 eligibility|Eligibility criteria
9 preparation|Preprocessing
10 subsets|Selection of subsets of the data
11 predictors|Definitions of data elements
12 private|De-identification
13 missing|Missing data
14 outcome|Definition of the reference standard
15|Rationale of the reference standard
16|Source of annotations, qualifications of annotators
17|Annotation tools
18 agreement|Variability within and between raters
19 size|Sample size and how it was determined
20 analysis|Assignment to partitions
21 disjoint|Level at which partitions are disjoint
22 specification|Model: inputs, outputs, layers
23 software|Software
24 initial|Initialisation of parameters
25 training|Training: augmentation, hyperparameters, number of models
26 selection|Selection of the final model
27 ensemble|Ensembling
28 measures|Measures of performance
29 uncertainty|Statistical significance and uncertainty
30 robust|Robustness or sensitivity analysis
31 explain|Explainability
32 external|External test data
33 flow|Flow of cases
34 characteristics|Characteristics of cases in each partition
35 performance|Performance in all partitions
36 performance|Estimates of accuracy and their precision
37 failures|Analysis of what was classified wrongly
38 limits|Limitations
39|Implications for practice
40|Registration
41|Where the protocol can be read
42|Funding
"""


def tripod_ai(evidence: Evidence) -> tuple[Item, ...]:
    """The 52 parts of TRIPOD+AI's 27 items."""
    return _filled(_TRIPOD, _answers(evidence))


def claim(evidence: Evidence) -> tuple[Item, ...]:
    """The 42 items of CLAIM (2020)."""
    return _filled(_CLAIM, _answers(evidence))


def _filled(text: str, answers: Mapping[str, str]) -> tuple[Item, ...]:
    items = []
    for line in text.strip().splitlines():
        head, topic = line.split("|")
        number, _, key = head.partition(" ")
        items.append(Item(number, topic, answers[key] if key else None))
    return tuple(items)


def _answers(evidence: Evidence) -> dict[str, str]:
    run, table = evidence.run, evidence.table
    training = run.setup.training
    names = ", ".join(dict.fromkeys(row.name for row in table.rows if not row.baseline))
    signs = " and ".join(evidence.signs)
    kinds = set(table.kinds.values())
    partition = (
        "One subject is held out at a time" if kinds == {"loso"} else "Subjects are held out by a file of folds"
    ) + "; all others train."
    author = "The author adds the rest."
    return {
        "title": f"Machine learning (graph and temporal convolutions, distillation): {names}; outcome: {signs}. {author}",
        "objectives": f"Development with internal validation of classifiers of {signs} in videos of seizures. {author}",
        "sources": f"{cohort_line(evidence)} {_made_by(evidence)} {author}",
        "eligibility": f"Whoever has a row in cohort.csv; trimmed seizures. {author}",
        "preparation": "Frames are placed at 25 a second by their times where seizurelit extracted them; keypoints "
        "are relative to a root joint and divided by a length of the body within each clip; nothing is normalised "
        "over the cohort. Shares of missing points and facts of the recordings stand at each seizure. Whether "
        "quality differs between groups is not tested.",
        "outcome": f"Labels of a whole seizure, read from cohort.csv: {_labels_line(evidence)}. {author}",
        "choice": f"By the published method; inputs: {', '.join(training.inputs.features)}"
        f"{', with confidence' if training.inputs.confidence else ''}; appearance features for the TCN. Nothing was "
        "selected by its relation to the outcome.",
        "predictors": "Positions of points of body or face in each frame, with confidence, and features of their "
        "appearance; the extractor is named in each cache file. Models are not told labels of other seizures.",
        "size": f"{_sizes(evidence)} No size was computed beforehand by this software. {author}",
        "missing": "A point that was not seen is masked; a seizure without an extraction counts as wrong (primary) "
        "or is left out (secondary, table.csv); a seizure without a rating is left out, and counted.",
        "analysis": f"{partition} folds.json has the subjects of each fold (split seed {run.setup.split_seed}).",
        "disjoint": "Subjects: no seizure, window or frame of a held-out subject trains anything; loading refuses it, and "
        "report --audit reads it again from the files.",
        "handling": f"Clips of {training.windows.frames} frames; each is centred and scaled by itself; nothing is "
        "transformed by statistics of the cohort.",
        "model": f"{names}. {_optimiser(training)} {_chosen(training)}",
        "training": f"{_optimiser(training)} Augmentation: {_augmentation(training)}. {_counts(evidence)}",
        "clusters": "A subject is the cluster: intervals and tests resample or permute subjects; per_fold.csv has "
        "each fold's scores.",
        "measures": "F1, accuracy, balanced accuracy, sensitivity, specificity, MCC, AUROC, AUPRC, Brier score, log "
        "loss and calibration slope (table.csv); ROC, precision-recall and calibration curves (this page). No "
        "measure of clinical utility.",
        "uncertainty": f"{LEVEL:.0%} BCa intervals over subjects ({RESAMPLES} resamples), exact sign-flip "
        "contrasts, permutation of subjects' labels against chance, Holm's correction in two families.",
        "updating": "None: no model was updated or recalibrated.",
        "calculated": "Mean logit over all windows of a seizure, then softmax, by the model that did not see its subject.",
        "imbalance": "Classes, and subjects within a class, have equal weight in the loss."
        if training.balance
        else "The loss is not weighted.",
        "fairness": "Scores by sex, age and lobe stand on this page where the cohort has them, strata under five "
        f"subjects as counts. Nothing in the training aims at fairness. {author}",
        "output": "A score in [0, 1] for each class, not calibrated on new data and so not called a probability; "
        + (
            "the threshold is 0.5."
            if training.threshold == "half"
            else "the threshold is chosen for balanced accuracy on each fold's inner subjects."
        ),
        "difference": "None: evaluation is internal, on held-out subjects of one cohort; there is no external data "
        "in this run.",
        "external": "None in this run.",
        "code": f"seizurelit {seizurelit.__version__}, Apache-2.0; config.json has all settings, run {run.run_id}. {author}",
        "flow": "Cohort, rated, extracted and scored seizures and subjects of each row: under What was run.",
        "characteristics": f"{cohort_line(evidence)} Every seizure's own columns stand at it. {author}",
        "specification": "Each fold's weights with the subjects they saw, as safetensors, in jobs/; settings in config.json. "
        f"AGCN: {training.agcn.variant}{'' if training.agcn.adaptive else ', fixed graph'}; TCN: "
        f"{training.tcn.levels} levels of {training.tcn.channels} channels. Access to them is the author's to state.",
        "performance": "Table 1 with intervals; by sex, age and lobe where the cohort has them. Only held-out "
        "subjects are scored; the training subjects' accuracy is in the training curves' files (metrics.csv).",
        "heterogeneity": "Errors are listed by patient; the heat map shows every subject; per_fold.csv has each fold.",
        "limits": f"{limits(evidence)[0]} See Method and limits. {author}",
        "input": "A seizure without the extraction that a model needs has no score. How poor a video may be was not tested.",
        "subsets": "None beyond the rating of each sign; windows cover each seizure whole when it is scored.",
        "private": "Keypoints and weights are pseudonymous at best. This page has no picture; it "
        + ("has keyed pseudonyms for names." if evidence.shared else "names subjects as the cohort does.")
        + f" {author}",
        "agreement": f"labels.csv has {len(evidence.cohort.ratings)} ratings by "
        f"{len({rating.rater for rating in evidence.cohort.ratings})} raters; their agreement stands under Table 1."
        if evidence.cohort.ratings
        else "Not known: the cohort has one label a seizure and no labels.csv of several raters.",
        "software": f"seizurelit {seizurelit.__version__} on PyTorch, Lightning, scikit-learn, SciPy; versions are "
        f"locked with hashes in requirements/; trained on {run.setup.device}, precision {training.precision}.",
        "initial": "Random, from a seed made of the run's seed, sign, stream, model and fold; a student starts as "
        "the plain network does; nothing is pretrained on the cohort.",
        "selection": _chosen(training),
        "ensemble": "Fusion is the mean of the scores of the pose and face students, a row of its own; the mean of "
        "several seeds' scores stands beside the mean of their results, never in its place.",
        "robust": "Baselines of nuisance and motion energy from the same folds; each sign's score against the other sign; "
        + ("one seed only." if len(seeds_of(evidence)) < 2 else f"{len(seeds_of(evidence))} seeds."),
        "explain": "Scores of each window over a seizure's time, where the jobs kept them. No attribution is made.",
        "failures": "Every error by patient opens this page, with what was seen of the seizure.",
    }


def seeds_of(evidence: Evidence) -> tuple[int, ...]:
    """The seeds that any trained row has."""
    return tuple(sorted({seed for row in evidence.table.rows for seed in row.seeds if seed is not None}))


def cohort_line(evidence: Evidence) -> str:
    """The cohort in one sentence: subjects, seizures, sexes, ages, lengths."""
    cohort = evidence.cohort
    counts = Counter(seizure.subject for seizure in cohort.seizures)
    first = {seizure.subject: seizure for seizure in cohort.seizures}
    parts = [
        f"{len(counts)} subjects, {len(cohort.seizures)} seizures ({min(counts.values())}–{max(counts.values())} "
        f"each, median {statistics.median(counts.values()):g})"
    ]
    for column in ("sex", "ez_lobe"):
        found = Counter(seizure.columns[column] for seizure in first.values() if seizure.columns.get(column))
        if found:
            parts.append(f"{column.replace('_', ' ')} " + ", ".join(f"{name} {found[name]}" for name in sorted(found)))
    ages = [_number(seizure.columns.get("age_at_onset", "")) for seizure in first.values()]
    known = [age for age in ages if age is not None]
    if known:
        parts.append(f"age at onset {min(known):g}–{max(known):g} years, median {statistics.median(known):g}")
    seconds = [sighting.seconds for sighting in evidence.sightings.values() if not math.isnan(sighting.seconds)]
    if seconds:
        parts.append(f"{min(seconds):.0f}–{max(seconds):.0f} s, median {statistics.median(seconds):.0f} s")
    return "; ".join(parts) + "."


def limits(evidence: Evidence) -> tuple[str, ...]:
    """What this run cannot show, a sentence each, the gravest first."""
    found = []
    if evidence.table.stand_in:
        found.append("The cohort is synthetic: nothing here is a finding about seizures.")
    if not evidence.table.complete:
        found.append("The run is not whole: folds are missing, and the table names them.")
    seeds, preset = seeds_of(evidence), evidence.run.setup.preset
    if preset == "fast":
        found.append("Preset fast: small networks and few epochs, to see that everything works.")
    if len(seeds) == 1:
        found.append("One seed: what another would give is not known.")
    found += [
        f"{len(evidence.cohort.subjects)} subjects of one cohort: intervals are wide, and nothing is known of other centres.",
        "Intervals take the fitted models as given; what another training set would give is not in them.",
        "Pooled AUROC, AUPRC, Brier score and the curves mix scores of different models, one a fold.",
        "Labels are opinions on a whole seizure, and a seizure was trimmed by somebody who knew it.",
        "The method is meant for trimmed hyperkinetic seizures: nothing is said of other movements, or of a seizure's detection.",
    ]
    return tuple(found)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _labels_line(evidence: Evidence) -> str:
    parts = []
    for sign, labels in evidence.labels.items():
        counts = Counter(labels.values())
        parts.append(f"{sign} " + ", ".join(f"{name}: {counts[name]}" for name in evidence.signs[sign].classes))
    return "; ".join(parts)


def _sizes(evidence: Evidence) -> str:
    parts = []
    for sign, labels in evidence.labels.items():
        positive = evidence.signs[sign].positive
        subjects = {evidence.cohort.subject_of(seizure) for seizure in labels}
        if positive is None:
            parts.append(f"{sign}: {len(labels)} seizures of {len(subjects)} subjects")
            continue
        with_it = [seizure for seizure, label in labels.items() if label == positive]
        owners = {evidence.cohort.subject_of(seizure) for seizure in with_it}
        parts.append(
            f"{sign}: {len(with_it)} of {len(labels)} seizures and {len(owners)} of {len(subjects)} subjects positive"
        )
    return "; ".join(parts) + "."


def _made_by(evidence: Evidence) -> str:
    makers = sorted({maker for sighting in evidence.sightings.values() for maker in sighting.made_by.values()})
    return f"Extracted by {', '.join(makers)}." if makers else "Nothing was extracted."


def _optimiser(training: Training) -> str:
    optimiser = training.optimiser
    return (
        f"{optimiser.name}, learning rate {optimiser.lr:g} with a cosine, weight decay {optimiser.weight_decay:g}, "
        f"{optimiser.epochs} epochs, batches of {optimiser.batch} seizures; distillation α "
        f"{training.distillation.alpha:g}, T {training.distillation.temperature:g}."
    )


def _augmentation(training: Training) -> str:
    used = {name: value for name, value in vars(training.augmentation).items() if value}
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in used.items()) or "none"


def _chosen(training: Training) -> str:
    if len(training.grid) > 1:
        return (
            f"One of {len(training.grid)} settings is chosen on each fold's inner subjects (choice.json), then "
            "refitted on all."
        )
    if training.threshold == "inner":
        return "The threshold is chosen on each fold's inner subjects; settings and the number of epochs are fixed beforehand."
    return "Nothing is chosen: settings, number of epochs and threshold are fixed beforehand."


def _counts(evidence: Evidence) -> str:
    trained = sum(len(histories) for histories in evidence.histories.values())
    return f"{trained} networks were trained, {len(seeds_of(evidence))} seed(s)."
