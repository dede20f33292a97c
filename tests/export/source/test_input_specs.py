import pytest
from attn_export.source.input_specs import override_dims, parse_dims, parse_inputs
from attn_runtime.errors import UsageError
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import Dim, Values


def test_inputs_as_the_readme_writes_them() -> None:
    dims = parse_dims(["batch=1:8:32", "T=128"])
    image, tokens = parse_inputs(["image:float32[batch,3,32,32]", "tokens:int64[batch, T]<30000"], dims)
    assert image.dims == (Dim("batch", 1, 8, 32), Dim.fixed(3), Dim.fixed(32), Dim.fixed(32))
    assert tokens.dims == (Dim("batch", 1, 8, 32), Dim("T", 128, 128, 128))
    assert (tokens.low, tokens.high) == (0, 30000)
    assert not tokens.dims[1].dynamic


def test_integers_below_zero() -> None:
    offsets, steps = parse_inputs(["offsets:int64[4]>=-8<8", "steps:int32[4] >= -9 < -3"], {})
    assert (offsets.low, offsets.high) == (-8, 8)
    assert (steps.low, steps.high) == (-9, -3)
    drawn = draw_inputs([offsets, steps], {}, 0)
    assert drawn["offsets"].min() == -8
    assert set(drawn["steps"]) <= set(range(-9, -3))


def test_floats_say_how_they_are_distributed() -> None:
    declared = ["uniform(0,1)", "normal(0.5, 2)", "normal(1e2,-0,-1,1)", "lognormal(-1,.5)", "lognormal(0,1,0,9)"]
    specs = parse_inputs([f"x{n}:float32[4]~{text}" for n, text in enumerate(declared)], {})
    assert [spec.values for spec in specs] == [
        Values("uniform", low=0, high=1),
        Values("normal", 0.5, 2),
        Values("normal", 100, 0, -1, 1),
        Values("lognormal", -1, 0.5),
        Values("lognormal", 0, 1, 0, 9),
    ]
    assert parse_inputs(["x:float64[]"], {})[0].values is None


def test_a_scalar_input() -> None:
    (scale,) = parse_inputs(["scale:float32[]"], {})
    assert scale.dims == ()


@pytest.mark.parametrize(
    ("inputs", "dims", "says"),
    [
        (["image:float32"], [], "expected NAME:DTYPE[AXIS,...]"),
        (["image:float31[3]"], [], "did you mean float32?"),
        (["image:float32[batch,3]"], [], "dim batch has no size; add --dim batch="),
        (["tokens:int64[4]"], [], "needs a range"),
        (["tokens:int64[4]<0"], [], "is empty"),
        (["tokens:int64[4]<-3"], [], "the range <-3 is empty; it goes from LOW (0 if not said)"),
        (["tokens:int64[4]>=5<5"], [], "the range >=5<5 is empty"),
        (["tokens:int64[4]>=-5"], [], "as in tokens:int64[4]>=-8<8"),
        (["tokens:uint8[4]>=-5<5"], [], "uint8 begins at 0, after -5"),
        (["image:float32[3]>=1<5"], [], "a range (>=1<5) is for integers"),
        (["tokens:int8[4]<1000"], [], "int8 ends at 127"),
        (["image:float32[3]<5"], [], "a range (<5) is for integers"),
        (["x:float32[3]~unifrm(0,1)"], [], "did you mean uniform? available: uniform(LOW,HIGH), normal(MEAN"),
        (["x:float32[3]~"], [], "expected a distribution; available:"),
        (["x:float32[3]~uniform"], [], "got uniform, expected a distribution"),
        (["x:float32[3]~uniform(0,1))"], [], "expected a distribution"),
        (["x:float32[3]~uniform(0)"], [], "got 1 number, expected uniform(LOW,HIGH)"),
        (["x:float32[3]~uniform()"], [], "got 0 numbers, expected uniform(LOW,HIGH)"),
        (["x:float32[3]~uniform(0,1,2,3)"], [], "got 4 numbers, expected uniform(LOW,HIGH)"),
        (["x:float32[3]~normal(0,1,2)"], [], "got 3 numbers, expected normal(MEAN,STD[,LOW,HIGH])"),
        (["x:float32[3]~normal(0,one)"], [], "got one in normal(0,one), expected a number"),
        (["x:float32[3]~normal(0,)"], [], "got nothing in"),
        (["x:float32[3]~uniform(1,1)"], [], "got low 1 and high 1, expected low < high"),
        (["x:float32[3]~normal(0,1,2,-2)"], [], "got low 2 and high -2, expected low < high"),
        (["x:float32[3]~normal(0,-1)"], [], "got std -1, expected 0 or more"),
        (["x:float32[3]~normal(nan,1)"], [], "expected a finite number"),
        (["x:float32[3]~uniform(0,1e999)"], [], "expected a finite number"),
        (["x:float16[3]~normal(1e5,1)"], [], "float16 ends at 65504, before 100000"),
        (["x:float16[3]~uniform(1.0001,1.0002)"], [], "float16 has no number in between"),
        (["x:float16[3]~lognormal(800,1)"], [], "float16 ends at 65504"),
        (
            ["x:int64[3]~uniform(0,1)"],
            [],
            "got uniform(0,1) for int64, expected a float input; declare an integer's range",
        ),
        (["x:int64[3]<9~uniform(0,1)"], [], "got uniform(0,1) for int64"),
        (["x:bool[3]~uniform(0,1)"], [], "a boolean input has none"),
        (["image:float32[0]"], [], "sizes start at 1"),
        (["image:float32[a-b]"], [], "neither a size nor a name"),
        (["a:float32[1]", "a:float32[1]"], [], "given twice"),
        (["a:float32[batch]"], ["batch=1:8:32", "bacth=4"], "did you mean batch?"),
        ([], ["batch=8:1:32"], "min <= opt <= max"),
        ([], ["batch=x"], "expected NAME=MIN:OPT:MAX"),
        ([], ["batch=0:1:2"], "sizes start at 1"),
        ([], ["batch=1", "batch=2"], "given twice"),
    ],
)
def test_what_does_not_parse_is_told(inputs: list[str], dims: list[str], says: str) -> None:
    with pytest.raises(UsageError) as told:
        parse_inputs(inputs, parse_dims(dims))
    assert says in str(told.value)


def test_override_changes_only_the_named_dim() -> None:
    (own,) = parse_inputs(["x:float32[batch,T]"], parse_dims(["batch=1:2:4", "T=1:8:16"]))
    (changed,) = override_dims([own], parse_dims(["T=4:4:64"]))
    assert changed.dims == (Dim("batch", 1, 2, 4), Dim("T", 4, 4, 64))
    with pytest.raises(UsageError, match="no input has a dim of that name"):
        override_dims([own], parse_dims(["S=4"]))
