"""Members are handed out parents first, seeds in order, children only of complete parents; retries are per member."""

from __future__ import annotations

import pytest
from ray.tune.search import Searcher

from pie_ray.cluster.agenda import MOST_MEMBERS, Agenda, automatic_size
from pie_ray.cluster.searcher import PlanSearcher
from pie_ray.identity import make_plan
from pie_ray.recipe import parse_recipe


@pytest.fixture
def members(tiny_recipe):
    """Of each seed a dense, a pruned and a quantized one, whose parent is the dense one."""
    return sorted(make_plan(tiny_recipe).members, key=lambda spec: spec.seed)


def agenda(members, **options):
    return Agenda([(spec,) for spec in members], **{"max_retries": 2, **options})


def names(specs):
    return [f"{spec.variant_id}/{spec.seed}" for spec in specs]


def take_all(agenda):
    """A trial each, by the name of its first member."""
    taken = {}
    while packs := agenda.take(f"t{len(taken)}"):
        taken[names(packs[0])[0]] = f"t{len(taken)}"
    return taken


def of(members, name):
    return next(spec for spec in members if names([spec]) == [name])


def settle(agenda, members, trial_id, name, *, is_complete=True):
    return agenda.settle(trial_id, of(members, name).member_id, is_complete=is_complete)


def test_a_child_waits_for_its_parent_and_then_goes_first(members):
    todo = agenda(members)
    first = todo.take("a")
    assert names(first[0]) == ["dense/0"]
    assert settle(todo, members, "a", "dense/0") == of(members, "dense/0")
    assert names(todo.take("b")[0]) == ["static_int8/0"]
    assert list(take_all(todo)) == ["magnitude-0.50/0", "dense/1", "magnitude-0.50/1"]
    assert not todo.is_done


def test_children_of_a_failed_parent_are_unreachable(members):
    todo = agenda(members)
    trials = take_all(todo)
    settle(todo, members, trials["dense/0"], "dense/0", is_complete=False)
    assert todo.take("x") == ()
    assert names(todo.unreachable) == ["static_int8/0"]


def test_children_of_parents_that_are_not_missing_need_no_wait(members):
    todo = agenda([member for member in members if member.parent_id])
    assert list(take_all(todo)) == ["static_int8/0", "static_int8/1"]


def test_a_trial_takes_whole_packs_until_it_has_members_enough(members):
    trained = [spec for spec in members if spec.parent_id is None]
    todo = Agenda([tuple(trained[:2]), *[(spec,) for spec in trained[2:]]], max_retries=0, members_per_trial=3)
    assert [names(pack) for pack in todo.take("a")] == [["dense/0", "magnitude-0.50/0"], ["dense/1"]]
    assert names(todo.current("a")) == ["dense/0", "magnitude-0.50/0"]
    settle(todo, members, "a", "dense/0")
    assert names(todo.current("a")) == ["magnitude-0.50/0"]
    settle(todo, members, "a", "magnitude-0.50/0")
    assert names(todo.current("a")) == ["dense/1"]
    settle(todo, members, "a", "dense/1")
    assert todo.current("a") == () and not todo.has_live_trials


def test_what_is_told_twice_is_news_once(members):
    todo = agenda(members, members_per_trial=4)
    todo.take("a")
    assert settle(todo, members, "a", "dense/0") is not None
    # A drained node's trial begins anew and reads the members again that were complete.
    assert settle(todo, members, "a", "dense/0") is None
    assert names(todo.current("a")) == ["magnitude-0.50/0"]


def test_a_broken_trial_costs_an_attempt_to_the_members_it_was_at_alone(members):
    todo = agenda(members, members_per_trial=4, max_retries=1)
    assert [names(pack) for pack in todo.take("a")] == [
        ["dense/0"], ["magnitude-0.50/0"], ["dense/1"], ["magnitude-0.50/1"],
    ]  # fmt: skip
    settle(todo, members, "a", "dense/0")
    broken = todo.broke_down("a")
    assert (names(broken.again), names(broken.given_up)) == (["magnitude-0.50/0"], [])
    # What is complete is not handed out again.
    assert [names(pack) for pack in todo.take("b")] == [
        ["magnitude-0.50/0"], ["dense/1"], ["magnitude-0.50/1"], ["static_int8/0"],
    ]  # fmt: skip
    broken = todo.broke_down("b")
    assert (names(broken.again), names(broken.given_up)) == ([], ["magnitude-0.50/0"])
    assert [names(pack) for pack in todo.take("c")] == [["dense/1"], ["magnitude-0.50/1"], ["static_int8/0"]]
    for name in ("dense/1", "magnitude-0.50/1", "static_int8/0"):
        settle(todo, members, "c", name)
    assert [names(pack) for pack in todo.take("d")] == [["static_int8/1"]]
    settle(todo, members, "d", "static_int8/1")
    assert todo.is_done and todo.unreachable == []


def test_a_packs_last_attempt_is_each_member_alone(members):
    pack = tuple(spec for spec in members if spec.parent_id is None)
    todo = Agenda([pack], max_retries=2)
    for trial_id in ("a", "b"):
        assert todo.take(trial_id) == (pack,)
        assert todo.broke_down(trial_id).again == pack
    alone = take_all(todo)
    assert len(alone) == len(pack)
    broken = todo.broke_down(alone["dense/1"])
    assert names(broken.given_up) == ["dense/1"]


def test_children_of_a_parent_that_is_given_up_are_unreachable(members):
    todo = agenda(members, max_retries=0)
    trials = take_all(todo)
    todo.broke_down(trials["dense/1"])
    assert names(todo.unreachable) == ["static_int8/1"]


@pytest.mark.parametrize(("num_left", "size"), [(1, 1), (1999, 1), (2000, 2), (9000, 9), (10**6, MOST_MEMBERS)])
def test_trials_of_large_sweeps_take_a_thousandth_of_what_is_left(num_left, size):
    assert automatic_size(num_left) == size


def test_the_last_thousand_members_of_a_large_sweep_are_trials_of_their_own(tiny_text):
    plan = make_plan(parse_recipe(tiny_text, ["population.num_members=2000"]))
    todo = agenda([spec for spec in plan.members if spec.parent_id is None])
    sizes = []
    while packs := todo.take(f"t{len(sizes)}"):
        sizes.append(len(packs))
    assert sum(sizes) == 4000
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 4 and sizes[-1000:] == [1] * 1000


def test_tune_sees_the_ids_of_members_and_a_name(members):
    searcher = PlanSearcher(agenda(members, members_per_trial=2))
    assert searcher.suggest("t") == {
        "packs": [[of(members, "dense/0").member_id], [of(members, "magnitude-0.50/0").member_id]],
        "title": "dense-seed-0-and-1",
    }


def test_tune_waits_while_a_trial_may_break_down_and_never_with_nothing_live(members):
    todo = agenda(members[:1])
    searcher = PlanSearcher(todo)
    assert isinstance(searcher.suggest("a"), dict)
    assert searcher.suggest("b") is None
    todo.broke_down("a")
    assert searcher.suggest("c")["packs"] == [[members[0].member_id]]
    settle(todo, members, "c", "dense/0")
    assert searcher.suggest("d") == Searcher.FINISHED
