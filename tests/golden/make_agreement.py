#!/usr/bin/env python3
"""Writes agreement.json: Cohen's kappa by scikit-learn and Krippendorff's alpha by the PyPI package `krippendorff`, with bootstrap
intervals over things that numpy draws (20,000 resamples; ours are 2,000 of other draws, so these are compared loosely).

    pip install krippendorff scikit-learn && python make_agreement.py
"""
import json
import pathlib
import warnings

import krippendorff
import numpy
from sklearn.metrics import cohen_kappa_score

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).parent
random = numpy.random.default_rng(7)


def alpha_of(table):
    """table[rater][thing], NaN where nothing was said."""
    return float(krippendorff.alpha(reliability_data=table, level_of_measurement="nominal"))


def interval(things, value, resamples=20000):
    values = []
    for _ in range(resamples):
        try:
            one = value(random.integers(0, things, things))
        except ValueError:  # no variation in the resample
            continue
        if one == one:
            values.append(one)
    return [float(bound) for bound in numpy.quantile(values, [0.025, 0.975])]


def raters(people, things, categories, noise, missing):
    truth = random.integers(0, categories, things)
    table = numpy.empty((people, things))
    for person in range(people):
        wrong = random.random(things) < noise
        table[person] = numpy.where(wrong, random.integers(0, categories, things), truth)
        table[person][random.random(things) < missing] = numpy.nan
    return table


def case(name, table):
    people, things = table.shape
    rows = [[int(value) for value in table[:, thing] if value == value] for thing in range(things)]
    # Things that fewer than two judged have no part in alpha; resamples are of the others.
    pairable = numpy.array([thing for thing in range(things) if len(rows[thing]) > 1])
    result = {"name": name, "things": rows, "alpha": alpha_of(table), "pairable": len(pairable), "kappas": [],
              "alpha_ci95": interval(len(pairable), lambda drawn: alpha_of(table[:, pairable[drawn]]), 2000)}
    for a in range(people):
        for b in range(a + 1, people):
            both = ~numpy.isnan(table[a]) & ~numpy.isnan(table[b])
            of_a, of_b = table[a][both].astype(int), table[b][both].astype(int)
            result["kappas"].append({"a": of_a.tolist(), "b": of_b.tolist(), "kappa": float(cohen_kappa_score(of_a, of_b)),
                                     "ci95": interval(len(of_a), lambda drawn: cohen_kappa_score(of_a[drawn], of_b[drawn]), 2000)})
    return result


# The example of Krippendorff 2011, "Computing Krippendorff's alpha-reliability", part C: nominal alpha is 0.743.
N = numpy.nan
PAPER = numpy.array([[1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N], [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
                     [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N], [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N]])

cases = [case("paper", PAPER), case("two people", raters(2, 60, 4, 0.3, 0.0)), case("two of chance", raters(2, 80, 2, 1.0, 0.0)),
         case("four with gaps", raters(4, 50, 4, 0.25, 0.4))]
(HERE / "agreement.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")
for one in cases:
    print(one["name"], one["alpha"], one["alpha_ci95"], [(kappa["kappa"], kappa["ci95"]) for kappa in one["kappas"]])
