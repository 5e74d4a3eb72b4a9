"""Tokenized Hugging Face data sets: the rows that were written, in their own types, from disk."""

import pickle

import numpy as np
import pytest
from datasets import Array2D, Dataset, DatasetDict, Features, disable_progress_bars, load_from_disk

from lltc.errors import InputError
from lltc.posterior.data import as_data

IDS = np.arange(24, dtype=np.int32).reshape(6, 4)
MASK = (np.arange(24).reshape(6, 4) % 5 > 0).astype(np.int8)
COLUMNS = {"input_ids": IDS, "attention_mask": MASK, "labels": np.where(MASK, IDS, -100).astype(np.int64)}
TABLE = COLUMNS | {"weight": np.linspace(0, 1, 6)}
disable_progress_bars()


@pytest.fixture(params=["in memory", "mapped"])
def table(request, tmp_path):
    dataset = Dataset.from_dict({name: array.tolist() for name, array in TABLE.items()})
    dataset = dataset.cast_column("attention_mask", dataset.features["input_ids"])
    if request.param == "in memory":
        return dataset
    dataset.save_to_disk(tmp_path / "tokens", num_shards=3)
    return load_from_disk(tmp_path / "tokens")


def test_rows_are_those_written_in_any_order(table):
    data = as_data(table)
    assert data.size == 6
    assert not data.in_memory
    wanted = np.array([[4, 0], [2, 2], [5, 1]])
    batch = data.batch(wanted)
    assert batch.keys() == TABLE.keys()
    for name, array in TABLE.items():
        np.testing.assert_allclose(batch[name], array[wanted], rtol=1e-7)
    assert batch["labels"].min() == -100
    blocks = list(data.blocks(4))
    assert [len(block["input_ids"]) for block in blocks] == [4, 2]


def test_what_was_chosen_shuffled_and_left_out_is_heeded(table):
    chosen = table.select([5, 3, 1])
    np.testing.assert_array_equal(as_data(chosen).batch(np.arange(3))["input_ids"], IDS[[5, 3, 1]])
    shuffled = table.shuffle(seed=1)
    expected = np.array(shuffled["input_ids"])
    np.testing.assert_array_equal(as_data(shuffled).batch(np.arange(6))["input_ids"], expected)
    few = table.with_format("numpy", columns=["labels"])
    assert as_data(few).batch(np.arange(2)).keys() == {"labels"}


def test_a_mapped_table_travels_by_its_name(tmp_path):
    rows = np.zeros((5000, 16), np.int64)
    Dataset.from_dict({"input_ids": rows}).save_to_disk(tmp_path / "tokens")
    data = as_data(load_from_disk(tmp_path / "tokens"))
    sent = pickle.dumps(data)
    assert len(sent) < rows.nbytes // 50
    np.testing.assert_array_equal(pickle.loads(sent).batch(np.array([3]))["input_ids"], rows[:1])


def test_images_of_two_dimensions_keep_their_shape():
    images = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for features in (None, Features({"pixels": Array2D((3, 4), "float32")})):
        dataset = Dataset.from_dict({"pixels": images.tolist()}, features=features)
        np.testing.assert_array_equal(as_data(dataset).batch(np.array([1, 0]))["pixels"], images[::-1])


def test_rows_of_different_lengths_are_refused_before_anything_runs():
    ragged = Dataset.from_dict({"input_ids": [[1, 2, 3]] * 50 + [[4, 5]]})
    with pytest.raises(
        InputError, match=r"rows of 2 to 3 values in the column 'input_ids', .*; pad them, .* or pack"
    ):
        as_data(ragged)
    assert as_data(ragged.select(range(50))).size == 50
    deep = Dataset.from_dict({"x": [[[1, 2], [3]]]})
    with pytest.raises(InputError, match=r"rows of 1 to 2 values in the column 'x'"):
        as_data(deep)


def test_other_columns_and_missing_values_are_refused():
    texts = Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    with pytest.raises(
        InputError, match=r"the column 'text' of type string, .* data\.remove_columns\('text'\)"
    ):
        as_data(texts)
    assert as_data(texts.remove_columns("text")).size == 2
    with pytest.raises(InputError, match=r"lacks values in the column 'label'; fill them"):
        as_data(Dataset.from_dict({"label": [1, None]}))
    assert as_data(Dataset.from_dict({"label": [1, None]}).select([0])).size == 1
    with pytest.raises(InputError, match=r"lacks values in the column 'x'"):
        as_data(Dataset.from_dict({"x": [[1, 2], None]}))
    with pytest.raises(
        InputError, match=r"is a DatasetDict of the splits 'train', 'test'; pass one, such as data\['tr"
    ):
        as_data(DatasetDict({"train": texts, "test": texts}))
    with pytest.raises(InputError, match=r"data holds no examples"):
        as_data(Dataset.from_dict({"x": []}))
    with pytest.raises(InputError, match=r"which can only be gone through"):
        as_data(texts.to_iterable_dataset())


def test_rows_that_a_function_makes_are_read_through_it(table):
    table.set_transform(lambda rows: {"ids": [np.asarray(row) + 1 for row in rows["input_ids"]]})
    np.testing.assert_array_equal(as_data(table).batch(np.array([2]))["ids"], IDS[2:3] + 1)
