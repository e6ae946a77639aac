"""A label-preserving loss against the plain one: by hand, and against a slow bootstrap that gathers its draws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pie_ray.errors import InputError
from pie_ray.stats import compare_pairs, label_preservation

pytestmark = pytest.mark.filterwarnings("error")

LABELS = np.array([0, 0, 1, 1, 2, 2])
REFERENCE = np.array([[0, 0, 1, 1, 2, 0], [0, 1, 1, 1, 2, 2]])
PLAIN = np.array([[1, 0, 0, 1, 1, 2], [0, 1, 1, 0, 2, 1]])
PRESERVING = np.array([[0, 0, 1, 1, 1, 0], [0, 2, 1, 1, 2, 2]])
RATIOS = ("cie_ratio", "cie_u_ratio", "class_spread_ratio")
INTERVALS = (*RATIOS, "top1_change", "worst_class_difference")


def compared(*populations, seed=0, **options):
    return label_preservation(*populations, **{"num_classes": 3, "rng": np.random.default_rng(seed)} | options)


def ends(found):
    """Value, low and high."""
    return [float(end) for end in vars(found).values()]


def noisy(rng, wanted, share, num_classes):
    """Labels of which a share is moved elsewhere."""
    moved = rng.random(wanted.shape) < share
    return np.where(moved, (wanted + rng.integers(1, num_classes, wanted.shape)) % num_classes, wanted)


def population(seed=0, num_members=6, num_examples=240, num_classes=4, losses=(0.3, 0.1)):
    """Reference, plain, preserving and labels; the losses move these shares of the reference's labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num_examples)
    reference = noisy(rng, np.tile(labels, (num_members, 1)), 0.1, num_classes)
    return reference, *(noisy(rng, reference, share, num_classes) for share in losses), labels


def test_by_hand():
    found = compared(REFERENCE, PLAIN, PRESERVING, LABELS)
    # 4 and 2 of 6 labels differ, of which the reference was right on 3 and 2; and 1 and 1, right on 1 and 0
    assert found.plain.cie_fraction == pytest.approx(6 / 12)
    assert found.preserving.cie_fraction == pytest.approx(2 / 12)
    assert found.cie_ratio.value == pytest.approx(3)
    assert found.plain.cie_u_fraction == pytest.approx(5 / 12)
    assert found.preserving.cie_u_fraction == pytest.approx(1 / 12)
    assert found.cie_u_ratio.value == pytest.approx(5)
    # right by class, of 4 each: reference 3 4 3, plain 2 2 2, preserving 3 4 2
    np.testing.assert_allclose(found.plain.class_change, [-1 / 4, -2 / 4, -1 / 4])
    np.testing.assert_allclose(found.preserving.class_change, [0, 0, -1 / 4])
    assert (found.plain.worst_class, found.preserving.worst_class) == (1, 2)
    assert (found.plain.worst_class_change, found.preserving.worst_class_change) == (-0.5, -0.25)
    assert found.worst_class_difference.value == 0.25
    assert found.top1_change.value == pytest.approx(9 / 12 - 6 / 12)


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_the_pairs(seed):
    reference, plain, preserving, labels = population(seed)
    found = compared(reference, plain, preserving, labels, num_classes=4)
    for mine, variant in ((found.plain, plain), (found.preserving, preserving)):
        pairs = compare_pairs(reference, variant, labels)
        assert mine.cie_fraction == pytest.approx(pairs.mean_cie)
        assert mine.cie_u_fraction == pytest.approx(pairs.mean_cie_u)
    assert found.top1_change.value == pytest.approx((preserving == labels).mean() - (plain == labels).mean())


# ------------------------------------------------------------------------------------------------------------ intervals


def slow_figures(reference, plain, preserving, labels, classes, num_classes):
    """CIE ratio, CIE-U ratio, top-1, each loss's class changes: from predictions as they are."""
    cie = [np.mean(variant != reference) for variant in (plain, preserving)]
    cie_u = [np.mean((variant != reference) & (reference == labels)) for variant in (plain, preserving)]
    top1 = np.mean(preserving == labels) - np.mean(plain == labels)
    changes = []
    for variant in (plain, preserving):
        of_class = [classes == index for index in range(num_classes)]
        changes.append([np.mean((variant == labels)[:, c]) - np.mean((reference == labels)[:, c]) for c in of_class])
    return cie[0] / cie[1], cie_u[0] / cie_u[1], top1, np.array(changes)


def slow_intervals(case, num_classes, *, classes, examples, num_draws=1500):
    """Ends by figure, of draws that gather members and examples one by one."""
    reference, plain, preserving, labels = case
    rng = np.random.default_rng(99)
    ids = np.unique(examples)
    drawn = []
    for _ in range(num_draws):
        members = rng.integers(len(reference), size=len(reference))
        answers = np.concatenate([np.flatnonzero(examples == one) for one in rng.choice(ids, ids.size)])
        chosen = [each[members][:, answers] for each in (reference, plain, preserving)]
        drawn.append(slow_figures(*chosen, labels[answers], classes[answers], num_classes))
    changes = np.array([draw[3] for draw in drawn])
    noise = (changes - changes.mean(axis=2, keepdims=True)).var(axis=0).mean(axis=1)
    spread = np.sqrt(np.maximum(changes.var(axis=2) - 2 * noise, 0))
    worst = changes.min(axis=2)
    found = dict(
        zip(("cie_ratio", "cie_u_ratio", "top1_change"), zip(*(draw[:3] for draw in drawn), strict=True), strict=True)
    )
    found |= {"class_spread_ratio": spread[:, 0] / spread[:, 1], "worst_class_difference": worst[:, 1] - worst[:, 0]}
    value = np.array(slow_figures(*case, classes, num_classes)[3])
    return {name: np.quantile(draws, (0.025, 0.975)) for name, draws in found.items()}, np.sqrt(
        value.var(axis=1) - noise
    )


def hit(rng, variant, labels, share):
    """A class's labels moved, so that classes are hit differently."""
    is_hit = (labels == 0) & (rng.random(variant.shape) < share)
    return np.where(is_hit, 1, variant)


@pytest.mark.parametrize("several", [False, True], ids=["examples", "answers"])
def test_intervals_are_those_of_a_slow_bootstrap(several):
    """Two bootstraps of other random numbers: their ends agree to what so many draws leave open."""
    rng = np.random.default_rng(5)
    reference, plain, preserving, labels = population()
    case = reference, hit(rng, plain, labels, 0.5), hit(rng, preserving, labels, 0.35), labels
    # examples of three answers; classes that are not the labels
    examples = np.arange(labels.size) // 3 if several else np.arange(labels.size)
    classes = (labels + 1) % 4 if several else labels
    options = {"classes": classes, "examples": examples} if several else {}
    found = compared(*case, num_classes=4, num_resamples=4000, **options)
    slow, spreads = slow_intervals(case, 4, classes=classes, examples=examples)
    np.testing.assert_allclose([found.plain.class_spread, found.preserving.class_spread], spreads, rtol=0.02)
    assert float(found.class_spread_ratio.value) == pytest.approx(spreads[0] / spreads[1], rel=0.02)
    for name in INTERVALS:
        mine = getattr(found, name)
        width = slow[name][1] - slow[name][0]
        assert mine.low < mine.value < mine.high
        assert abs(mine.low - slow[name][0]) < 0.1 * width, name
        assert abs(mine.high - slow[name][1]) < 0.1 * width, name


def test_members_and_examples_are_both_drawn():
    """Equal members leave the examples' chance, equal examples the members'; together there is more than of either."""
    reference, plain, preserving, labels = population(num_members=8, num_examples=64)

    def width(*case):
        change = compared(*case, num_classes=4).top1_change
        return float(change.high - change.low)

    equal_members = [np.repeat(each[:1], 8, axis=0) for each in (reference, plain, preserving)]
    assert width(*equal_members, labels) > 0.1
    rng = np.random.default_rng(0)
    zeros = np.zeros((8, 64), int)
    by_member = np.repeat(rng.integers(0, 2, (8, 1)), 64, axis=1)
    assert width(zeros, by_member, zeros, np.zeros(64, int)) > 0.1
    assert width(zeros, np.ones((8, 64), int), zeros, np.zeros(64, int)) == 0


def test_answers_of_one_example_stay_together():
    """Ten copies of an answer tell no more than one does."""
    case = population(num_examples=60)
    copies = [np.repeat(each, 10, axis=-1) for each in case]
    once = compared(*case, num_classes=4).cie_ratio
    together = compared(*copies, num_classes=4, examples=np.repeat(np.arange(60), 10)).cie_ratio
    apart = compared(*copies, num_classes=4).cie_ratio
    assert (together.low, together.high) == (pytest.approx(float(once.low)), pytest.approx(float(once.high)))
    assert apart.high - apart.low < together.high - together.low


def test_equal_losses_differ_in_nothing():
    reference, plain, _, labels = population()
    found = compared(reference, plain, plain, labels, num_classes=4)
    for name in RATIOS[:2]:
        assert ends(getattr(found, name)) == [1, 1, 1]
    for name in ("top1_change", "worst_class_difference"):
        assert ends(getattr(found, name)) == [0, 0, 0]


def test_classes_that_are_hit_alike_do_not_differ_however_many_labels_move():
    """The raw spread of the plain loss is larger by chance alone; corrected, no ratio beside 1 is found."""
    num_found = raw_above = 0
    for seed in range(40):
        reference, plain, preserving, labels = population(seed, 10, 400, 4, losses=(0.4, 0.02))
        found = compared(reference, plain, preserving, labels, num_classes=4, num_resamples=200)
        ratio = found.class_spread_ratio
        num_found += bool(ratio.low > 1 or ratio.high < 1)
        raw_above += found.plain.class_change.std() > found.preserving.class_change.std()
    assert num_found <= 2 and raw_above >= 35


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Of independent members and examples: a ratio of .3 to .1 is 3, in 95 of 100 studies or a little more."""
    hits = 0
    for seed in range(150):
        ratio = compared(*population(seed, 10, 150), num_classes=4, num_resamples=200).cie_ratio
        hits += bool(ratio.low <= 3 <= ratio.high)
    assert hits / 150 > 0.92


# ------------------------------------------------------------------------------------------------------------ the edges


def test_no_cie_at_all_has_no_ratio_and_none_of_one_loss_an_infinite_one():
    labels, reference = LABELS, np.tile(LABELS, (3, 1))
    moved = reference.copy()
    moved[:, 0] = 1
    neither = compared(reference, reference, reference, labels).cie_ratio
    assert math.isnan(neither.value) and (neither.low, neither.high) == (0, math.inf)
    for plain, preserving, value in ((moved, reference, math.inf), (reference, moved, 0)):
        found = compared(reference, plain, preserving, labels).cie_ratio
        # draws without the one example that moved say nothing
        assert (found.value, found.low, found.high) == (value, 0, math.inf)


def test_one_member_has_figures_and_no_intervals():
    found = compared(*(each[:1] for each in (REFERENCE, PLAIN, PRESERVING)), LABELS)
    assert found.cie_ratio.value == 4
    for name in INTERVALS:
        assert math.isnan(getattr(found, name).low) and math.isnan(getattr(found, name).high)


def test_a_class_without_answers_is_nan_and_counts_nowhere():
    found = compared(REFERENCE, PLAIN, PRESERVING, LABELS, num_classes=5)
    narrow = compared(REFERENCE, PLAIN, PRESERVING, LABELS)
    assert np.isnan(found.plain.class_change[3:]).all() and found.plain.worst_class == 1
    assert found.plain.class_spread == narrow.plain.class_spread
    np.testing.assert_array_equal(ends(found.class_spread_ratio), ends(narrow.class_spread_ratio))


def test_the_same_random_numbers_give_the_same_intervals():
    case = population()
    first, again, other = (compared(*case, num_classes=4, seed=seed) for seed in (0, 0, 1))
    for name in INTERVALS:
        np.testing.assert_array_equal(ends(getattr(first, name)), ends(getattr(again, name)))
    assert ends(first.cie_ratio) != ends(other.cie_ratio)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plain": PLAIN[:1]}, "variant: found 1 members where reference has 2"),
        ({"preserving": PRESERVING[:, :5]}, "variant: found 5 examples where reference has 6"),
        ({"labels": LABELS[:5]}, r"labels: found shape \(5,\)"),
        ({"labels": LABELS + 1}, "labels: found label 3 at example 4"),
        ({"classes": LABELS + 3}, "labels: found label 3"),
        ({"examples": LABELS[:3]}, r"found shape \(3,\)"),
        ({"num_resamples": 0}, "num_resamples: found 0"),
        ({"alpha": 1.0}, r"alpha: found 1\.0"),
        ({"rng": 3}, "rng: found int"),
    ],
)
def test_mistakes_are_named(changes, message):
    arguments = {
        "reference": REFERENCE,
        "plain": PLAIN,
        "preserving": PRESERVING,
        "labels": LABELS,
        "num_classes": 3,
        "rng": np.random.default_rng(0),
    }
    with pytest.raises(InputError, match=message):
        label_preservation(**arguments | changes)
