"""How long does a grid search of scikit-learn take on two workers, by which backend of joblib?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from benchmarks._timing import seconds
from benchmarks.harness import Candidate, Measure, Question, Start, main
from benchmarks.harness.peers import WORKERS


def search(backend: str) -> Start:
    @contextmanager
    def start(count: int) -> Iterator[Measure]:
        import_module("distio.joblib")  # which registers it
        from joblib import parallel_config
        from sklearn.datasets import make_classification
        from sklearn.model_selection import GridSearchCV
        from sklearn.svm import SVC

        x, y = make_classification(n_samples=count, random_state=0)
        grid = {"C": [0.1, 1, 10], "gamma": [0.01, 0.1]}

        def fit() -> None:
            with parallel_config(backend=backend, n_jobs=WORKERS):
                GridSearchCV(SVC(), grid, cv=5).fit(x, y)

        yield lambda: seconds(fit)

    return start


QUESTIONS = [
    Question(
        __file__,
        "grid-search",
        "How long does a grid search of 30 fits take, by a backend of joblib?",
        "s",
        [
            Candidate("backend distio", search("distio"), "scikit-learn"),
            Candidate("backend loky", search("loky"), "scikit-learn"),
        ],
        (1_000, 0, 60),
        goal="1.1 times loky",
    )
]

if __name__ == "__main__":
    main(QUESTIONS)
