"""Data as people have them: lists, rows, datasets and loaders come as arrays, streams as one sentence."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.experimental.sparse import BCOO

import lltc
from lltc import InputError
from lltc.posterior.data import as_data

IDS = np.arange(24).reshape(6, 4)
LABELS = np.arange(6) % 3
W = np.linalg.lstsq(IDS, LABELS, rcond=None)[0].astype(np.float32)


class Tensor:
    """An array of another library."""

    def __init__(self, values: Any):
        self.values = np.asarray(values)
        self.shape, self.dtype = self.values.shape, self.values.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype, copy=copy)


class Items:
    """A data set of single items, as torch's are."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        return Tensor(IDS[index]), int(LABELS[index])


class Countless(Items):
    """More items than there are numbers."""

    def __len__(self) -> int:
        return 3 * 10**9


class Averages(Items):
    """One that would take many indices for one example."""

    def __getitem__(self, index: Any) -> Any:
        return IDS[index].mean(), IDS[index].max()


class Noisy(Items):
    """One that augments at random."""

    def __getitem__(self, index: int) -> Any:
        return IDS[index] + np.random.default_rng().normal(size=4)


class Rows(Items):
    """A table of rows as dictionaries of lists, as Hugging Face has."""

    def __getitem__(self, index: Any) -> Any:
        if np.ndim(index):
            return {"ids": IDS[index].tolist(), "label": LABELS[index].tolist()}
        return {"ids": IDS[index].tolist(), "label": int(LABELS[index])}


class Sampled:
    """Draws rows in some way."""


class Loader:
    """Batches of a data set, as torch's loaders make them."""

    batch_size = 4

    def __init__(self, dataset: Any, sampler: Any = None):
        self.dataset, self.sampler = dataset, sampler

    def __iter__(self) -> Any:
        return iter([self.collate_fn([self.dataset[i] for i in range(4)])])

    def collate_fn(self, items: list) -> list:
        return [
            Tensor(np.stack([np.asarray(item[0]) for item in items])),
            Tensor([item[1] for item in items]),
        ]


COLUMNS = {"ids": IDS.tolist(), "label": LABELS.tolist()}
PAIRS: dict[str, Any] = {
    "arrays": (IDS, LABELS),
    "lists": (IDS.tolist(), LABELS.tolist()),
    "tensors": (Tensor(IDS), Tensor(LABELS)),
    "rows": [(ids.tolist(), int(label)) for ids, label in zip(IDS, LABELS, strict=True)],
    "rows of arrays": list(zip(IDS, LABELS, strict=True)),
    "rows of tensors": [(Tensor(ids), Tensor(label)) for ids, label in zip(IDS, LABELS, strict=True)],
    "single numbers": (IDS.tolist(), list(LABELS)),
    "items": Items(),
    "a loader": Loader(Items()),
}
TABLES: dict[str, Any] = {
    "columns": COLUMNS,
    "rows": [{"ids": ids.tolist(), "label": int(label)} for ids, label in zip(IDS, LABELS, strict=True)],
    "rows of arrays": [{"ids": ids, "label": label} for ids, label in zip(IDS, LABELS, strict=True)],
    "a table": Rows(),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_of_every_kind_are_the_same_examples(name):
    data = as_data(PAIRS[name])
    ids, labels = data.batch(np.array([5, 0]))
    assert data.size == 6
    np.testing.assert_array_equal(ids, IDS[[5, 0]])
    np.testing.assert_array_equal(labels, LABELS[[5, 0]])
    wide = jax.dtypes.canonicalize_dtype(np.int64)
    assert data.example in ("[0] int32 (4,), [1] int32 ()", f"[0] {wide} (4,), [1] {wide} ()")


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_lists_have_one_array_a_column(name):
    data = as_data(TABLES[name])
    batch = data.batch(np.array([[5, 0], [1, 2]]))
    np.testing.assert_array_equal(batch["ids"], IDS[[[5, 0], [1, 2]]])
    np.testing.assert_array_equal(batch["label"], LABELS[[[5, 0], [1, 2]]])


def test_a_source_that_takes_many_indices_for_one_example_is_read_one_by_one():
    means, largest = as_data(Averages()).batch(np.arange(6))
    np.testing.assert_allclose(means, IDS.mean(1))
    np.testing.assert_array_equal(largest, IDS.max(1))


def test_an_estimate_from_a_loader_is_that_from_arrays():
    few: dict[str, Any] = {"num_draws": 128, "num_warmup": 32, "nbeta": 9.0, "progress": False}
    loss = lambda w, batch: 0.5 * (batch[0] @ w - batch[1]) ** 2
    arrays, loaded = (lltc.estimate_llc(loss, W, data, **few) for data in (PAIRS["arrays"], Loader(Items())))
    assert abs(arrays.llc - loaded.llc) < 4 * (arrays.llc_se**2 + loaded.llc_se**2) ** 0.5


class Half(Items):
    """Every second item of a data set that it holds."""

    def __init__(self) -> None:
        self.dataset = Items()

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return self.dataset[2 * index]

    def __iter__(self) -> Any:
        return iter(self[index] for index in range(3))


def test_a_part_of_a_data_set_is_no_loader_of_it():
    data = as_data(Half())
    assert data.size == 3
    np.testing.assert_array_equal(data.batch(np.arange(3))[0], IDS[::2])


class BatchSampler:
    """Batches of row numbers, as torch's makes them."""

    def __init__(self, sampler: Any = None):
        self.sampler = sampler


class Batched(Loader):
    """A loader that is given its batches of rows, and so no size of them."""

    batch_size = None

    def __init__(self, dataset: Any, batch_sampler: Any):
        super().__init__(dataset)
        self.batch_sampler = batch_sampler

    def collate_fn(self, items: list) -> list:
        return [-values.values for values in super().collate_fn(items)]


def test_a_loader_of_given_batches_makes_them_by_its_own_function():
    data = as_data(Batched(Items(), BatchSampler()))
    np.testing.assert_array_equal(data.batch(np.arange(6))[0], -IDS)
    for strange in (BatchSampler(Sampled()), Sampled()):
        with pytest.raises(InputError, match="chooses its rows by a Sampled"):
            as_data(Batched(Items(), strange))


REFUSED = {
    "ragged": ({"ids": [[1, 2], [1, 2, 3]]}, r"data\['ids'\] has rows of different lengths \(2 to 3\)"),
    "rows or columns": (list(IDS), r"list of 6 arrays of shape \(4,\).*np.stack\(data\) for examples"),
    "ragged rows": ([{"ids": [1, 2]}, {"ids": [1]}], "examples of different shapes"),
    "texts": ({"text": ["a", "b"]}, r"data\['text'\] holds values of type str.*tokenize"),
    "texts in rows": ([{"text": "a"}, {"text": "b"}], "holds values of type <U1"),
    "missing values": ({"x": [1.0, None]}, "holds values of type NoneType, float"),
    "a generator": ((row for row in IDS), "is a generator, which can only be gone through, but λ̂ needs"),
    "an endless iterator": (itertools.count(), r"list\(itertools.islice\(data, n\)\)"),
    "a loader of a stream": (Loader(iter(IDS)), "loader.dataset"),
    "a loader that samples": (Loader(Items(), Sampled()), "chooses its rows by a Sampled"),
    "random augmentation": (Noisy(), "example 0 is another one at each call"),
    "large integers": (
        {"ids": np.array([2**40, 1])},
        r"data\['ids'\] holds integers from 1 to 1099511627776",
    ),
    "large unsigned ones": ({"ids": np.array([2**63, 1], np.uint64)}, "holds integers"),
    "large ones in lists": ({"ids": [2**40, 1]}, "holds integers"),
    "too many": (Countless(), r"holds 3,000,000,000 examples, but no more than 2,147,483,647 can be"),
    "none": ([], "holds nothing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_is_one_sentence(name):
    data, match = REFUSED[name]
    with jax.enable_x64(False), pytest.raises(InputError, match=match) as caught:
        as_data(data)
    assert "\n" not in str(caught.value)


def test_rows_of_texts_in_a_source_are_refused_when_read():
    class Texts(Items):
        def __getitem__(self, index: Any) -> Any:
            return {"text": "word"}

    with pytest.raises(InputError, match="values of type"):
        as_data(Texts()).batch(np.arange(2))


class Endless(Items):
    def __len__(self) -> int:
        raise TypeError("this data set has no length")


MASKED = np.ma.masked_array(IDS, IDS > 20)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (scipy.sparse.csr_matrix(IDS), "holds a sparse array"),
        ({"x": scipy.sparse.coo_array(IDS), "y": LABELS}, "holds a sparse array"),
        (BCOO.fromdense(jnp.asarray(IDS)), "holds a sparse array"),
        ((BCOO.fromdense(jnp.asarray(IDS)), LABELS), "holds a sparse array"),
        ([{"x": row} for row in MASKED], "masked arrays"),
        (Items, "cannot say how many"),
        (Endless(), "cannot say how many examples it holds .TypeError: this data set has no length."),
        ({0: IDS, "y": LABELS}, "keys of the types int, str"),
        ([{"x": 1, "y": 2}, {"x": 1}], "give all the same keys"),
        ([2**70, 1], "beyond 64 bits"),
        ({"x": IDS, "key": jax.random.split(jax.random.key(0), 6)}, "such as random keys"),
        ({"x": np.float32(1)}, r"data\['x'\] is a scalar"),
        (np.float32(1), "^data is a scalar"),
    ],
    ids=lambda case: type(case).__name__,
)
def test_what_is_no_table_of_numbers_is_refused_in_a_sentence(data, message):
    with pytest.raises(InputError, match=message) as caught:
        as_data(data)
    assert "\n" not in str(caught.value)


def test_a_loader_may_hold_a_list():
    data = as_data(Loader(list(zip(IDS, LABELS, strict=True))))
    ids, labels = data.batch(np.arange(6))
    np.testing.assert_array_equal(ids, IDS)
    np.testing.assert_array_equal(labels, LABELS)
