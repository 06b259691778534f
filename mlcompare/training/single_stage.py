"""One stage of a training that trains alone: the encoder on one loss, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from mlcompare.data import apply_augmentation, draw_augmentation
from mlcompare.training.average import Average
from mlcompare.training.checkpoint import State
from mlcompare.training.class_sample import class_sample
from mlcompare.training.class_shards import class_shards
from mlcompare.training.clipping import clip
from mlcompare.training.curve import Curve
from mlcompare.training.feed import Feed
from mlcompare.training.freeze import training_mode
from mlcompare.training.job import TrainingJob, TrainingResult
from mlcompare.training.microbatch import backward_in_pieces
from mlcompare.training.optimizers import create_optimizer, learning_rate_factor
from mlcompare.training.prepare import Prepared, Stage, encoder_precision, random_streams, stage_batches, stream
from mlcompare.training.rank_batch_norm import WholeBatchNorm
from mlcompare.training.ranks import ALONE, Ranks
from mlcompare.training.record import WATCH_EVERY, record_losses, watch
from mlcompare.training.teachers import Teachers

__all__ = ["SingleStage"]


class SingleStage:
    """One loss, its optimiser and its random streams; ``after(steps taken)`` is called after every step."""

    def __init__(
        self, job: TrainingJob, prepared: Prepared, stage: Stage, feed: Feed, result: TrainingResult, curve: Curve,
        ranks: Ranks = ALONE,
    ) -> None:  # fmt: skip
        self._job, self._prepared, self._stage, self._ranks = job, prepared, stage, ranks
        self._result, self._curve, self._config = result, curve, prepared.config
        self._batches = stage_batches(job, prepared, stage)  # (steps, B)
        self._told = prepared.labels_for(stage.loss)  # (N,) or (N, L)
        self._share = ranks.share(self._batches.shape[1])
        self._teachers = Teachers(stage.loss, prepared.teachers, prepared.rows[self._batches])
        self._inputs = feed.batches(prepared.rows[self._batches[:, self._share]])
        self._augmentation, self._noise = random_streams(job, stage)
        self._classes = class_sample(
            stage.loss, prepared.config.class_sample, len(prepared.class_counts), stream(job, stage, "classes")
        )
        self._shards = class_shards(stage.loss, prepared.config.class_weights, ranks)
        self._loss = self._shards or self._classes or stage.loss
        self._optimizer = create_optimizer(prepared.encoder, [self._loss], prepared.config)
        scaled = prepared.config.precision == "float16"  # whose smallest numbers are too large for many gradients
        self._scaler = torch.amp.GradScaler(torch.device(job.device).type, enabled=scaled)
        self._watched = torch.empty(stage.steps, device=job.device)
        self._average = Average(prepared.encoder, stage.loss, prepared.config.ema) if prepared.config.ema else None
        in_shares = ranks.size > 1 and prepared.config.microbatch is None  # pieces are normalised each by itself
        self._batch_norm = WholeBatchNorm(ranks) if in_shares else nullcontext()
        self._first = 0
        training_mode(prepared.encoder, job.encoder.freeze, job.encoder.batch_norm)
        stage.loss.train()

    def run(self, after: Callable[[int], None]) -> None:
        """Train to the end of the stage; stop where the loss is not finite."""
        self._ranks.meet((self._stage.first, self._first), self._job.device)
        for step in range(self._first, self._stage.steps):
            self._step(step)
            if watch(step, self._stage) and not self._look(step):
                return
            done = self._stage.first + step + 1
            if self._curve.due(done) and (self._ranks.first or self.sharded):
                with self._averaged(), self.whole():
                    if self._ranks.first:
                        self._curve.measure(done, self._prepared.encoder, self._stage)
            after(step + 1)

    @property
    def sharded(self) -> bool:
        """Whether each rank has class weights of its own, so that all must take part where the whole is looked at."""
        return self._shards is not None

    def whole(self) -> AbstractContextManager[None]:
        """Have the first rank's loss be whole for a while."""
        return nullcontext() if self._shards is None else self._shards.whole()

    def leave(self) -> None:
        """Leave the first rank's loss whole, for good."""
        if self._shards is not None:
            self._shards.join()

    def end(self) -> None:
        """Leave encoder and loss with what is scored and kept."""
        if self._average is not None:
            self._average.keep()
        self.leave()

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Have encoder and loss hold what is measured: where there is a moving average of the weights, that."""
        if self._average is None:
            yield
        else:
            with self._average.applied():
                yield

    def _step(self, step: int) -> None:
        config, loss = self._config, self._stage.loss
        factor = learning_rate_factor(config, (self._stage.first + step) / config.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        batch = self._batches[step]
        inputs = self._inputs[step]
        if config.augment:
            inputs = self._augmented(inputs, len(batch))
        self._ranks.begin(self._job.random_state, self._stage.first + step)
        loss.set_progress(step / self._stage.steps)
        self._teachers.tell(step)
        noise, labels = loss.draw_noise(len(batch), generator=self._noise), self._told[batch]
        with self._classes.step(self._optimizer, labels) if self._classes else nullcontext():
            self._optimizer.zero_grad(set_to_none=True)
            self._watched[step] = self._backward(inputs, lambda embeddings: self._loss(embeddings, labels, noise))
            self._ranks.summed(self._prepared.encoder.parameters())
            if self._shards is not None:
                self._shards.exchange()
            else:
                self._ranks.agreed(self._loss.parameters(), loss.buffers())
            self._scaler.unscale_(self._optimizer)
            if config.clip_norm is not None:
                elsewhere = None if self._shards is None else self._shards.squares_elsewhere()
                weights = (p for group in self._optimizer.param_groups for p in group["params"])
                clip(weights, config.clip_norm, elsewhere)
            self._scaler.step(self._optimizer)  # not where a gradient is infinite: then the scale is halved
            self._scaler.update()
        if self._average is not None:
            self._average.update()

    def _augmented(self, inputs: Tensor, batch: int) -> Tensor:
        """Draw for the whole batch, so that an image's changes don't depend on who embeds it."""
        channels, height, width = inputs.shape[1:]
        drawn = draw_augmentation(batch, self._config.augment, self._augmentation, (channels, height, width))
        return apply_augmentation(inputs, self._config.augment, [numbers[..., self._share] for numbers in drawn])

    def _embed(self, inputs: Tensor) -> Tensor:
        with encoder_precision(self._config, self._job.device), self._batch_norm:
            return self._prepared.encoder(self._prepared.standardize(inputs))

    def _backward(self, inputs: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
        """Add the gradients of a batch's loss, scaled, and return the loss."""
        values = []

        def scaled(embeddings: Tensor) -> Tensor:
            values.append(loss(self._ranks.gathered(embeddings, self._batches.shape[1])))
            return self._scaler.scale(values[-1])

        size = self._config.microbatch or len(inputs)
        if size < len(inputs):
            backward_in_pieces(self._prepared.encoder, self._embed, scaled, inputs, size)
        else:
            scaled(self._embed(inputs)).backward()
        return values[-1].detach()

    def _look(self, step: int) -> bool:
        """Record the losses since the last look; say whether training may go on."""
        last = step // WATCH_EVERY * WATCH_EVERY
        return record_losses(self._result, self._watched[last : step + 1].tolist(), self._stage.first + last)

    def state(self, steps: int) -> State:
        """Return what the stage is after ``steps`` steps, but for the encoder and the loss."""
        return {
            "steps": steps,
            "optimizer": self._optimizer.state_dict(),
            "streams": [generator.get_state() for generator in (self._augmentation, self._noise)],
            "watched": self._watched[steps // WATCH_EVERY * WATCH_EVERY : steps].clone(),
            "classes": None if self._classes is None else self._classes.state(),
            "scaler": self._scaler.state_dict(),
            "average": None if self._average is None else self._average.state(),
            "shards": None if self._shards is None else self._shards.state(self._optimizer, self._average),
        }

    def restore(self, state: State) -> None:
        """Go on from :meth:`state`."""
        self._first = steps = state["steps"]
        self._optimizer.load_state_dict(state["optimizer"])
        for generator, saved in zip((self._augmentation, self._noise), state["streams"]):
            generator.set_state(saved)
        self._scaler.load_state_dict(state["scaler"])
        if self._classes is not None:
            self._classes.restore(state["classes"])
        if self._average is not None:
            self._average.restore(state["average"])
        if self._shards is not None:
            self._shards.restore(state["shards"], self._optimizer, self._average)
        self._watched[steps // WATCH_EVERY * WATCH_EVERY : steps] = state["watched"].to(self._watched.device)
