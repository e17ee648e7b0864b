"""Estimators that compute with joblib, on the backend distio: prints what tests look at."""

from __future__ import annotations

import json

from joblib import parallel_config
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.svm import SVC

import distio.joblib  # noqa: F401 (registers the backend)

X, Y = make_classification(n_samples=300, random_state=0)


def scores(backend: str) -> dict[str, object]:
    forest = RandomForestClassifier(n_estimators=8, n_jobs=2, random_state=0)
    with parallel_config(backend=backend, n_jobs=2):
        search = GridSearchCV(SVC(), {"C": [0.1, 1, 10]}, cv=3).fit(X, Y)
        return {
            "best": search.best_params_,
            "scores": search.cv_results_["mean_test_score"].round(9).tolist(),
            "forest": cross_val_score(forest, X, Y, cv=3).round(9).tolist(),
        }


if __name__ == "__main__":
    print(json.dumps({"distio": scores("distio"), "loky": scores("loky")}))
