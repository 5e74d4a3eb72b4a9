"""A run divided over devices gives the numbers of one device, up to the order of sums."""

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import lltc
from lltc.errors import InputError
from tests.meshes import FEW, estimate_on, network, problem
from tests.processes import ran

pytestmark = pytest.mark.process

MESHES = [
    {"axes": {"chain": 2, "data": 2, "model": 2}},
    {"axes": {"chain": 4, "model": 2}, "chain_batch": 1},
    {"axes": {"data": 2, "model": 4}, "restrict": "second"},
]
UNEVEN = [
    {"axes": {"chain": 8}},
    {"axes": {"data": 8}, "batch_size": 100},
    {"axes": {"data": 2}, "params_on": {"model": 8}},
]


def launch(devices, meshes, *, process=0, of=1, port=0):
    """Run `meshes.py` in a process of its own: devices are counted once, when JAX starts."""
    words = [str(devices), str(process), str(of), str(port), *map(json.dumps, meshes)]
    out = ran([sys.executable, Path(__file__).parents[1] / "meshes.py", *words])
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def assert_same(found, expected):
    """Only rounding may differ: it is far below the Monte-Carlo error of even so short a run."""
    assert found["step_size"] == pytest.approx(expected["step_size"], rel=1e-4)
    np.testing.assert_allclose(found["energy"], expected["energy"], rtol=1e-3, atol=1e-4)
    assert found["llc"] == pytest.approx(expected["llc"], rel=1e-3)


@pytest.fixture(scope="module")
def on_eight():
    """Return what each of `MESHES` and `UNEVEN` gave on eight devices."""
    return launch(8, MESHES + UNEVEN)


@pytest.mark.parametrize("number", range(len(MESHES)))
def test_eight_devices_give_the_numbers_of_one(on_eight, number):
    assert_same(on_eight[number], estimate_on(**MESHES[number] | {"axes": {}}))


@pytest.mark.parametrize(("number", "chains", "coordinates"), [(0, 2, 2), (1, 4, 2), (2, 1, 4)])
def test_each_device_holds_its_share(on_eight, number, chains, coordinates):
    """4 chains of 208 parameters, and a leaf (16, 4) of which each device of "model" holds some rows."""
    shards = on_eight[number]["shards"]
    assert shards["position"] == shards["velocity"] == [4 // chains, 208 // coordinates]
    assert shards["second"] == [16 // coordinates, 4]


def test_two_processes_give_the_numbers_of_one():
    mesh = [{"axes": {"chain": 2, "data": 2}}]
    # Only who asks to share the port, as JAX's server does, gets it while it is held here.
    with socket.socket() as held, ThreadPoolExecutor(2) as threads:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        running = [threads.submit(launch, 2, mesh, process=process, of=2, port=port) for process in (0, 1)]
        expected = estimate_on({})
        for process in running:
            [found] = process.result()
            assert_same(found, expected)


def test_what_does_not_fit_the_mesh_is_a_sentence(on_eight):
    chains, batch, other = [found["refused"] for found in on_eight[len(MESHES) :]]
    assert chains.startswith("num_chains must be a multiple of the 8 devices along the mesh's axis 'chain',")
    assert chains.endswith("but it is 4; pass 8.")
    assert batch.startswith("batch_size must be a multiple of the 8 devices along the mesh's axis 'data',")
    assert batch.endswith("but it is 100; pass 104.")
    assert other.startswith(
        "params has a leaf divided over a mesh of {'model': 8}, but mesh is of {'data': 2}"
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mesh": 8}, "mesh must be a jax.sharding.Mesh whose axes are among chain, data, model, but int"),
        ({"mesh": jax.make_mesh((1,), ("batch",))}, r"among chain, data, model, but \('batch',\) was given"),
    ],
)
def test_what_is_no_mesh_is_a_sentence(options, sentence):
    params, data = problem()
    with pytest.raises(InputError, match=sentence):
        lltc.estimate_llc(network, params, data, **options)


def test_data_and_params_may_lie_on_a_mesh_of_their_own_where_they_are_whole():
    params, data = problem()
    own = jax.make_mesh((1,), ("model",))
    lie = NamedSharding(own, PartitionSpec("model"))
    other = NamedSharding(Mesh(np.array(jax.devices()), ("wide",)), PartitionSpec("wide"))
    found = lltc.estimate_llc(
        network, jax.device_put(params, other), jax.device_put(data, lie), mesh=own, **FEW
    )
    assert found.llc == pytest.approx(lltc.estimate_llc(network, params, data, **FEW).llc, rel=1e-3)
