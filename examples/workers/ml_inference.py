"""A model that is really trained, saved, loaded and used: handwritten digits, from the data that scikit-learn ships.

`train` fits a classifier on one half of the digits and saves it. `ml_inference_stream` loads it and predicts the other
half batch by batch. `learn` and `recognise` do the same inside a session: the model grows with every `learn`, lives in
the worker's memory, and is gone when the session ends.
"""

import os
import time

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from snakemux import Context, Error, Worker

worker = Worker(name="ml_inference", threads=2)


@worker.on_start
def load_data():
    images, digits = load_digits(return_X_y=True)
    parts = train_test_split(images / 16.0, digits, test_size=0.5, random_state=0, stratify=digits)
    worker.state.train_images, worker.state.test_images, worker.state.train_digits, worker.state.test_digits = parts


@worker.command
def train(model_path: str):
    """Trains on one half of the digits and saves the model to `model_path`."""
    began = time.monotonic()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(worker.state.train_images, worker.state.train_digits)
    partial = f"{model_path}.{os.getpid()}.partial"
    joblib.dump(model, partial)
    os.replace(partial, model_path)  # so that nobody ever loads half a model
    return {
        "model_path": model_path,
        "samples": len(worker.state.train_images),
        "accuracy": model.score(worker.state.test_images, worker.state.test_digits),
        "seconds": time.monotonic() - began,
    }


@worker.command
def predict(model_path: str, images: list):
    """The digits on `images`, each a list of 64 brightnesses from 0 to 1."""
    return {"digits": load_model(model_path).predict(checked(images)).tolist()}


@worker.command
def ml_inference_stream(model_path: str, ctx: Context, batch_size: int = 32):
    """Predicts every digit that the model has never seen, a batch a chunk; the last chunk has the accuracy."""
    if batch_size < 1:
        raise Error("invalid_argument", "batch_size must be at least 1")
    model = load_model(model_path)
    images, digits = worker.state.test_images, worker.state.test_digits
    total, correct = len(images), 0
    confused = np.zeros((10, 10), dtype=int)
    for start in range(0, total, batch_size):
        ctx.check()
        began = time.perf_counter()
        predicted = model.predict(images[start : start + batch_size])
        expected = digits[start : start + batch_size]
        correct += int(np.sum(predicted == expected))
        np.add.at(confused, (expected, predicted), 1)
        done = start + len(predicted)
        yield {
            "batch": start // batch_size,
            "digits": predicted.tolist(),
            "expected": expected.tolist(),
            "done": done,
            "total": total,
            "progress": done / total,
            "accuracy": correct / done,
            "batch_ms": (time.perf_counter() - began) * 1000,
        }
    mistakes = confused - np.diag(np.diag(confused))
    expected, predicted = np.unravel_index(np.argmax(mistakes), mistakes.shape)
    yield {
        "finished": True,
        "total": total,
        "correct": correct,
        "accuracy": correct / total,
        "most_confused": {"digit": int(expected), "taken_for": int(predicted), "times": int(mistakes.max())},
    }


@worker.command
def learn(ctx: Context, start: int = 0, count: int = 100):
    """Teaches this session's model `count` more of the training digits, from number `start` on."""
    images = worker.state.train_images[start : start + count]
    digits = worker.state.train_digits[start : start + count]
    if len(images) == 0:
        raise Error("out_of_range", f"there are {len(worker.state.train_images)} training digits")
    session = ctx.session
    model = session.setdefault("model", SGDClassifier(average=True, random_state=0))
    model.partial_fit(images, digits, classes=range(10))
    session["seen"] = session.get("seen", 0) + len(images)
    return {"seen": session["seen"], "accuracy": model.score(worker.state.test_images, worker.state.test_digits)}


@worker.command
def recognise(index: int, ctx: Context):
    """What this session's model sees on the test digit number `index`."""
    if "model" not in ctx.session:
        raise Error("failed_precondition", "this session has learnt nothing yet: call learn first")
    if not 0 <= index < len(worker.state.test_images):
        raise Error("out_of_range", f"there are {len(worker.state.test_images)} test digits")
    digit = ctx.session["model"].predict(worker.state.test_images[index : index + 1])[0]
    return {"digit": int(digit), "expected": int(worker.state.test_digits[index]), "seen": ctx.session["seen"]}


@worker.on_session_end
def forget(session_id: str, session: dict):
    print(f"session {session_id} ends: its model had seen {session.get('seen', 0)} digits")


def load_model(path: str):
    """The model saved at `path`. It is a pickle: load only what you saved yourself."""
    try:
        return joblib.load(path)
    except FileNotFoundError:
        raise Error("not_found", f"no model at {path}: call train first") from None


def checked(images: list):
    array = np.asarray(images, dtype=float)
    if array.ndim != 2 or array.shape[1] != 64:
        raise Error("invalid_argument", f"images must be a list of lists of 64 numbers, not of shape {array.shape}")
    return array


if __name__ == "__main__":
    worker.run()
