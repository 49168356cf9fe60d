"""Files of a whole pipeline, and the commands that read each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests import results_world, test_pipeline

if TYPE_CHECKING:
    from pathlib import Path

NEW, TRAINING, RESULTS = "new", "training", "results"
_RUN = "run/20261122_204715"


class Reading(NamedTuple):
    """A command that reads a file.

    Attributes:
        world: the folder that the command runs in.
        file: the file to be broken.
        step: the command, and its arguments.
    """

    world: str
    file: str
    step: str


def make_worlds(folder: Path) -> None:
    """Makes the folders that commands run in; ``STEPS`` fill them.

    Args:
        folder: gets one of each name.
    """
    for name in (NEW, TRAINING, RESULTS):
        (folder / name).mkdir()
    test_pipeline.write_new_images(folder / NEW)
    test_pipeline.write_labelled_images(folder / TRAINING)
    results_world.make(folder / RESULTS)
    texts = {
        "list.json": '[{"file": "cam0/IMG_0000.JPG", "download_id": "a"}]',
        "list.txt": "cam0/IMG_0000.JPG\ncam1/IMG_0001.JPG\n",
    }
    for file, text in texts.items():
        (folder / NEW / file).write_text(text, encoding="utf-8")


_IMPORT_CSV, _IMPORT_COCO, _SPEC, _QUERY, _DETECT, _DATASET = (
    test_pipeline.TRAINING_STEPS
)
_, _CROP, _CLASSIFY, _TARGETS, _, _MAP, _AGGREGATE, _MERGE = test_pipeline.STEPS
_IDENTIFY = f"classification.identify_mislabeled_candidates {_RUN} --splits test val"
_REVIEW = f"classification.review_mislabeled {_RUN}/mislabeled_candidates.csv crops -o page.html"
_REPORT = f"classification.report_results {_RUN}"
_SHOW = "classification.report_dataset run crops"

STEPS = {
    NEW: test_pipeline.STEPS,
    TRAINING: test_pipeline.TRAINING_STEPS,
    RESULTS: [_IDENTIFY],
}

READINGS = (
    *(Reading(NEW, "detections.json", step) for step in (_CROP, _CLASSIFY, _MERGE)),
    Reading(NEW, "targets.csv", _TARGETS),
    *(
        Reading(NEW, file, _MAP)
        for file in ("targets.json", "taxonomy.csv", "index_to_name.json")
    ),
    *(
        Reading(NEW, file, _AGGREGATE)
        for file in ("mapping.json", "classifier_output.csv.gz")
    ),
    *(
        Reading(NEW, file, _MERGE)
        for file in ("remapped.csv.gz", "remapped_index.json")
    ),
    Reading(
        NEW,
        "list.json",
        "classification.download_images json list.json kept --images-dir images --logdir logs",
    ),
    Reading(
        NEW,
        "list.txt",
        "classification.download_images txt list.txt kept --images-dir images --logdir logs",
    ),
    Reading(
        NEW,
        "detections.json",
        "classification.cache_batchapi_outputs detections.json --dataset d -c cache -v 1 --logdir logs",
    ),
    Reading(NEW, "taxonomy.csv", "taxonomy.taxonomy_csv_checker taxonomy.csv"),
    Reading(TRAINING, "labels.csv", _IMPORT_CSV),
    Reading(TRAINING, "cct.json", _IMPORT_COCO),
    Reading(TRAINING, "cct_boxes.json", _IMPORT_COCO),
    *(
        Reading(TRAINING, file, _QUERY)
        for file in ("run/label_spec.json", "taxonomy.csv", "megadb/datasets.json")
    ),
    *(
        Reading(TRAINING, file, step)
        for file in ("run/queried_images.json", "mdcache/vtiny/idfg.json")
        for step in (_DETECT, _DATASET)
    ),
    Reading(
        TRAINING,
        "run/queried_images.json",
        "classification.json_to_azcopy_list run/queried_images.json lists",
    ),
    *(
        Reading(TRAINING, f"run/{file}", _SHOW)
        for file in ("classification_ds.csv", "label_index.json", "splits.json")
    ),
    *(
        Reading(RESULTS, f"{_RUN}/{file}", _REPORT)
        for file in ("params.json", "outputs_test.csv.gz", "confusion_matrices.npz")
    ),
    Reading(RESULTS, f"{_RUN}/outputs_val.csv.gz", _IDENTIFY),
    Reading(RESULTS, f"{_RUN}/mislabeled_candidates.csv", _REVIEW),
)
