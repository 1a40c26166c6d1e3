"""Trains a small Keras model, on the backend that ``KERAS_BACKEND`` names.

Prints what Keras itself noted, as JSON.
"""

from __future__ import annotations

import json
import sys

import numpy as np

ROWS, BATCH, EPOCHS = 24, 8, 2


def main(logdir: str) -> None:
    """Fits three times, evaluates, and prints history, losses of batches, and a weight.

    The second time in batches of one and with boardd's callback alone, the third time the same
    without it.
    """
    import keras
    from boardd_client.hooks.keras import BoarddCallback

    class Losses(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.losses: list[float] = []

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            self.losses.append(float((logs or {})["loss"]))

    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1, name="last")])
    model.compile(keras.optimizers.SGD(0.01), "mse", metrics=["mae"])
    x = np.arange(ROWS * 5, dtype=np.float32).reshape(ROWS, 5) / 100
    y = x.sum(1, keepdims=True)
    losses = Losses()
    callback = BoarddCallback(logdir, "batch", 1, hyperparameters={"rate": 0.01, "sizes": [5, 1]})
    fitted = model.fit(
        x,
        y,
        batch_size=BATCH,
        epochs=EPOCHS,
        validation_data=(x, y),
        callbacks=[losses, callback],
        verbose=0,
    )
    weight = model.get_layer("last").kernel
    found = {
        "backend": keras.backend.backend(),
        "history": fitted.history,
        "path": weight.path,
        "weight": keras.ops.convert_to_numpy(weight).ravel().tolist(),
    }
    again = BoarddCallback(logdir + "/every second", update_freq=2)
    begun = model.get_weights()
    # Keras calls callbacks on threads of its own where all of them allow it.
    for callbacks in ([again], [losses]):
        model.set_weights(begun)
        model.fit(x, y, batch_size=1, epochs=EPOCHS, callbacks=callbacks, shuffle=False, verbose=0)
    model.evaluate(x, y, batch_size=BATCH, callbacks=[again], verbose=0)
    again.on_train_end()
    print(json.dumps({**found, "losses": losses.losses}))


if __name__ == "__main__":
    main(sys.argv[1])
