"""Stores as they may come from anyone, and arguments that cannot be read: one sentence each."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc import InputError
from lltc.estimates.progress import Progress
from lltc.files import FolderError
from lltc.fluctuations.tokens import driver, reader
from lltc.fluctuations.tokens.store import opened
from tests.fluctuations.tokens.gaussian import DATA, OPTIONS, POINT, SIZE, model, read


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    read(folder, num_draws=256)
    return folder


@pytest.fixture
def received(tmp_path, whole) -> Path:
    shutil.copytree(whole, tmp_path / "received")
    return tmp_path / "received"


def header_with(**changed):
    def damage(file):
        file.attrs["header"] = json.dumps(json.loads(file.attrs["header"]) | changed)

    return damage


def replaced(name, values):
    def damage(file):
        del file[name]
        file[name] = values

    return damage


def assigned(name, index, value):
    def damage(file):
        file[name][index] = value

    return damage


def linked(file):
    del file["token/loss"]
    file["token/loss"] = h5py.ExternalLink("/etc/passwd", "/x")


def external(file):
    shape = file["token/loss"].shape
    del file["token/loss"]
    file.create_dataset("token/loss", shape, "f8", external=[("/etc/passwd", 0, 8 * shape[0])])


def huge(file):
    del file["losses/posterior"]
    file.create_dataset("losses/posterior", (1 << 20, 8, 3, 1 << 20), "f4", chunks=(1, 1, 1, 1024))


DAMAGES = {
    "no header": (lambda file: file.attrs.pop("header"), "has no header"),
    "a header that is a number": (lambda file: file.attrs.__setitem__("header", 5), "has no header"),
    "a header that is a list": (lambda file: file.attrs.__setitem__("header", "[1]"), "has no header"),
    "negative counts": (header_with(extent=[-1, 4, 8, 2, 137]), "describes no reading"),
    "huge counts": (header_with(extent=[1 << 60, 4, 8, 2, 137]), "describes no reading"),
    "texts for counts": (header_with(extent=["16", 4, 8, 2, 137]), "describes no reading"),
    "more draws than arrays": (header_with(extent=[17, 4, 8, 2, 137]), "of shape"),
    "names that are none": (header_with(components=[1, 2]), "describes no reading"),
    "objects": (header_with(dtype="object"), "describes no reading"),
    "a count beyond the draws": (assigned("count", 0, 99), "counts"),
    "a negative count": (assigned("count", 1, -1), "counts"),
    "an example outside the data": (assigned("token/example", -1, SIZE), "tokens that cannot be"),
    "a weight that is none": (assigned("token/weight", 0, np.nan), "tokens that cannot be"),
    "texts for losses": (replaced("token/loss", ["a", "b"]), "of shape"),
    "a group for an array": (lambda file: (file.pop("count"), file.create_group("count")), "has no count"),
    "an external link": (linked, "is a link"),
    "numbers in another file": (external, "takes its numbers from other files"),
    "terabytes": (huge, "announces"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_store_is_refused_in_one_sentence(received, name):
    damage, said = DAMAGES[name]
    with h5py.File(received / "losses.h5", "r+") as file:
        damage(file)
    with pytest.raises(InputError, match=said):
        lltc.LossRecord.load(received)


def test_what_is_no_store_is_refused(tmp_path, received):
    with pytest.raises(InputError, match="is refused because it cannot be read"):
        lltc.LossRecord.load(tmp_path / "none")
    (received / "losses.h5").write_bytes(b"no file of HDF5")
    with pytest.raises(InputError, match="is refused because it cannot be read"):
        lltc.LossRecord.load(received)


def test_losses_that_are_no_numbers_give_none(received):
    with h5py.File(received / "losses.h5", "r+") as file:
        file["losses/posterior"][3, :, :, 5] = np.nan  # pyright: ignore[reportIndexIssue]
    gain = lltc.LossRecord.load(received).loss_gain().value
    assert np.flatnonzero(np.isnan(gain)).tolist() == [5]


def test_a_store_of_another_reading_is_refused(received):
    for changed in ({"nbeta": 61.0}, {"key": 9}, {"components": {"front": "[:3]"}}, {"control": False}):
        with pytest.raises(InputError, match="holds another reading"):
            read(received, num_draws=256, **changed)
    assert lltc.LossRecord.load(received).counts == (16, 4)
    assert read(received, num_draws=256).counts == (16, 4)


def test_numbers_of_numpy_are_numbers(received, tmp_path):
    same = {"num_draws": np.int64(256), "num_chains": np.int32(8), "key": np.int64(0)}
    assert read(received, **same).counts == (16, 4)
    few = {"num_warmup": np.int64(16), "anchor_examples": np.int64(8), "batch_size": np.int64(16)}
    record = read(tmp_path / "new", **(same | few), micro_batch=np.int64(8), step_size=np.float32(1e-3))
    assert record.counts == (16, 4)


def test_what_is_refused_is_refused_before_the_first_draw(tmp_path):
    """A loss less its batch's mean is none of single examples."""

    def centred(w, batch):
        losses = model(w, batch)[0]
        return losses - 0.5 * jnp.nanmean(losses), batch[2]

    with pytest.raises(InputError, match="the other examples of its batch"):
        lltc.read(centred, POINT, DATA, store=tmp_path, **OPTIONS)
    assert not (tmp_path / "losses.h5").exists()


def test_the_bar_counts_warm_up_too(tmp_path, monkeypatch):
    told = []

    class Told(Progress):
        def __init__(self, total, **options):
            told.append(total)
            super().__init__(total, **options)

        def extend(self, steps):
            told.append(steps)

        def advance(self, steps):
            told.append(-steps)

    monkeypatch.setattr(driver, "Progress", Told)
    read(tmp_path, num_draws=128, num_warmup=64)
    assert (sum(told), max(told), told[1]) == (0, 128, 64)


def test_a_full_disk_costs_no_draws(received):
    with pytest.raises(FolderError, match=r"No space left.*make room"), opened(received / "losses.h5", "r+"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(InputError, match="remove it"), opened(received / "losses.h5"):
        raise OSError("Can't read data")


def test_a_finished_store_is_not_written_again(received):
    before = (received / "losses.h5").read_bytes()
    read(received, num_draws=256)
    assert (received / "losses.h5").read_bytes() == before


def test_the_size_is_told_beforehand_and_true(tmp_path, capfd):
    read(tmp_path, num_draws=256, progress=True, rows=[3, 4])
    said = capfd.readouterr().err.splitlines()[0]
    assert said.startswith("lltc.read: 16 draws and 4 of the prior, 8 chains, 2 components and the whole, ")
    told = float(said.split(" MB in ")[0].split()[-1].replace(",", ""))
    assert (tmp_path / "losses.h5").stat().st_size / 1e6 == pytest.approx(told, abs=1)


def test_rows_keep_the_tokens_of_some_examples_and_means_over_all(tmp_path, whole):
    record = read(tmp_path, num_draws=256, rows=[3, 30])
    assert set(record.tokens.example) == {3, 30}
    np.testing.assert_array_equal(record.means(), lltc.LossRecord.load(whole).means())
    with pytest.raises(InputError, match="keeps 2 of 40 examples, but all are needed"):
        record.singular_fluctuation()


class Padded:
    """Rows that come padded to the longest of those asked for, as of a loader that collates."""

    def __len__(self) -> int:
        return 8

    def __getitems__(self, indices):
        return np.ones((len(indices), 2 + max(indices)), np.float32)


def test_examples_padded_batch_by_batch_are_refused(tmp_path):
    losses = lambda w, x: (w * x, x > 0)
    few: dict[str, Any] = {"batch_size": 4, "num_draws": 128, "nbeta": 3.0, "progress": False}
    with pytest.raises(InputError, match=r"have 5 tokens in one batch and 9 in another.* to one length"):
        lltc.read(losses, np.float32(1), Padded(), store=tmp_path, **few)


def spoiled(values, mask):
    return lambda w, batch: (values(model(w, batch)[0]), mask(batch[2]))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (spoiled(lambda a: a, lambda mask: mask.astype(float)), "a mask of booleans"),
        (spoiled(lambda a: a, lambda mask: mask[:, :1]), "of the same shape"),
        (spoiled(lambda a: a[..., None], lambda mask: mask[..., None]), r"\(40, tokens\)"),
        (spoiled(lambda a: jnp.ones_like(a, int), lambda mask: mask), "floating-point losses"),
        (spoiled(lambda a: a, lambda mask: mask & False), "example 0 of data has no token that counts"),
        (spoiled(lambda a: a, lambda mask: mask | True), "has the loss nan at params and counts"),
        (lambda w, batch: model(w, batch)[0][:, 0].mean(), "model returns the mean of its batch"),
    ],
)
def test_models_that_cannot_be_read_are_refused_in_one_sentence(tmp_path, model, said):
    with pytest.raises(InputError, match=said):
        lltc.read(model, POINT, DATA, store=tmp_path, **OPTIONS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_draws": 100}, "num_draws must be at least 128"),
        ({"num_draws": np.int64(100)}, "num_draws must be at least 128"),
        ({"num_draws": None}, "num_draws is None"),
        ({"observables": {"a": lambda w: w[0]}}, "observables is no option of lltc.read"),
        ({"weights": np.ones(SIZE)}, "weights cannot be given to lltc.read"),
        ({"weight_decay": 0.1}, "weight_decay cannot be given to lltc.read"),
        ({"rows": [SIZE]}, "rows must be integers from 0 to 39"),
        ({"rows": []}, "rows must be integers"),
        ({"rows": [0.5]}, "rows must be integers"),
        ({"rows": [[0], [1, 2]]}, r"rows must be integers.*\[\[0\], \[1, 2\]\] was given"),
        ({"tokens": "no"}, "tokens must be True or False, but 'no'"),
        ({"control": "no"}, "control must be True or False, but 'no'"),
        ({"components": {"none": "x/*"}}, "selects no"),
        ({"num_draw": 1000}, "did you mean num_draws"),
    ],
)
def test_arguments_that_cannot_be_read_are_refused_in_one_sentence(tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        read(tmp_path, **options)


def test_a_store_too_large_for_the_disk_is_refused_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))  # pyright: ignore
    monkeypatch.setattr(driver, "warm_up", lambda *_, **__: pytest.fail("chains have moved"))
    with pytest.raises(InputError, match=r"needs .* GB, but 1e-06 GB are free"):
        read(tmp_path, num_draws=256)


def test_draws_are_rounded_up_to_readings(tmp_path):
    record = read(tmp_path, num_draws=130, num_warmup=16, control=np.False_)
    assert (record.counts, record.estimate.num_draws) == ((9, 0), 144)


def test_what_is_read_beforehand_keeps_within_memory_too(tmp_path, monkeypatch):
    blocks = []
    counted = lambda function: lambda *given: blocks.append(len(given[-1][0])) or function(*given)
    monkeypatch.setattr(reader, "_at_center", counted(reader._at_center))
    monkeypatch.setattr(reader, "_rises", counted(reader._rises))
    read(tmp_path, num_draws=128, num_warmup=16, memory=10_000)
    assert max(blocks) < SIZE


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda record: record.loss_kernel([1000]), "rows must be integers from 0 to"),
        (lambda record: record.loss_kernel([[0], [1, 2]]), "rows must be integers from 0 to"),
        (lambda record: record.influence([[0], [1, 2]]), "queries must be integers from 0 to"),
        (lambda record: record.sketch_kernel(8).entries([10**9], [0]), "rows must be integers from 0 to"),
        (lambda record: record.sketch_kernel(8).entries([0], [-1]), "columns must be integers from 0 to"),
        (lambda record: record.sketch_kernel(8, key=-1), "key must be an integer ≥ 0, but -1"),
        (lambda record: record.loss_kernel([0], correlation="no"), "correlation must be True or False"),
        (lambda record: record.susceptibilities(alone="no"), "alone must be True or False"),
        (lambda record: record.influence({}), "queries must name at least one set"),
        (lambda record: record.influence({"a": []}), r"queries\['a'\] must be integers"),
        (lambda record: record.loss_gain("middle"), "component must be one of front, back"),
        (lambda record: record.sketch_kernel(0), "width must be an integer"),
        (lambda record: list(record.losses("likelihood")), "kind must be one of posterior, prior"),
    ],
)
def test_questions_that_cannot_be_answered_are_refused(whole, call, said):
    with pytest.raises(InputError, match=said):
        call(lltc.LossRecord.load(whole))
