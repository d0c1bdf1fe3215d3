"""What plugins implement, and the plain types that cross the border.

Authors write single-task functions of tensors; the engine batches them over tasks and takes every
derivative. A component is made by a *factory* with keyword-only, annotated hyperparameters; class
attributes listed here tell the planner what fits together without importing the plugin.

Shape suffixes: T tasks, S support samples, Q query samples, B any batch, N samples, F features.
Trees are nested dicts of tensors (:mod:`bench.trees`); ``{player: {name: tensor}}`` holds weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np

from bench.errors import ContractError, DataError, MetricError
from bench.trees import Tree, leaves, rebuild, tree_map

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    # What plugins annotate with, under TYPE_CHECKING as here: at run time the border does not know the engine.
    from bench.game.critic import Critic as Critic
    from bench.game.draws import Draws as Draws
    from bench.game.engine import Engine as Engine
    from bench.game.outer import Outer as Outer

__all__ = [
    "Adapted",
    "Augmentation",
    "ContractError",
    "DataError",
    "Choice",
    "Episode",
    "Factor",
    "FeatureExtractor",
    "Game",
    "GameRules",
    "GanLoss",
    "Kind",
    "LayerCall",
    "Lookahead",
    "MetaLearner",
    "MetaRegulariser",
    "Metric",
    "MetricError",
    "Modes",
    "Network",
    "Optimiser",
    "Output",
    "Parts",
    "Penalty",
    "Play",
    "Rates",
    "SampleSpec",
    "SamplingLearner",
    "Space",
    "Split",
    "TaskDistribution",
    "Tree",
    "cycled",
    "leaves",
    "rate_of",
    "rebuild",
    "tree_map",
]

Kind = Literal["image", "points", "signal", "regression"]
Split = Literal["meta-train", "meta-val", "meta-test"]
SPLITS: tuple[Split, ...] = ("meta-train", "meta-val", "meta-test")

Rates = float | dict[str, float]
"""A learning rate, or one per player: ``{generator: 0.005, discriminator: 0.002}``."""


def rate_of(rates: Rates, player: str) -> float:
    """The rate of ``player``.

    Raises:
        ContractError: a mapping has no rate for the player.
    """
    if isinstance(rates, Mapping):
        if player not in rates:
            raise ContractError(
                f"no learning rate for player {player!r}: got rates for {', '.join(rates) or 'nobody'}; give one number or one per player"
            )
        return rates[player]
    return rates


# ------------------------------------------------------------------ what tuning varies
@dataclass(frozen=True)
class Factor:
    """A log-uniform factor in [``low``, ``high``] on the arm's own value; rates per player are multiplied as a whole."""

    low: float
    high: float


@dataclass(frozen=True)
class Choice:
    """One of ``values``, each equally likely; where the suite names a value itself, that is what the arm is, and nothing is varied."""

    values: tuple[Any, ...]


Space = Mapping[str, Factor | Choice]
"""What tuning may vary of a component: {hyperparameter: how}, the class attribute ``space``."""


# ------------------------------------------------------------------ tasks
@dataclass(frozen=True)
class SampleSpec:
    """What one sample looks like.

    Attributes:
        kind: image (C, H, W), points (F,), signal (C, L), or regression (inputs (F,), targets beside them).
        shape: shape of one sample without the batch axis.
        low, high: range of values, or None where unbounded.
        targets: shape of one target; regression only.
        classes: number of classes of a labelled task (N ways); 0 where samples have no labels.
    """

    kind: Kind
    shape: tuple[int, ...]
    low: float | None = None
    high: float | None = None
    targets: tuple[int, ...] = ()
    classes: int = 0


@dataclass(frozen=True)
class Modes:
    """Known modes of a task: isotropic Gaussians ``centres`` (M, F) of standard deviation ``scale``, equally likely."""

    centres: np.ndarray
    scale: float


@dataclass(frozen=True)
class Episode:
    """One task: disjoint support and query, ``{"x": (S, ...), "y"?: (S, ...)}`` of float32.

    ``y`` holds the targets of a regression task, or the labels of a labelled one: one-hot rows (S, classes).
    """

    task_id: str
    support: Mapping[str, np.ndarray]
    query: Mapping[str, np.ndarray]
    modes: Modes | None = None


class TaskDistribution(Protocol):
    """Disjoint meta-train, meta-val and meta-test tasks.

    Class attribute ``kind`` is read at planning (one that wraps another distribution has none: an instance is asked); ``sample_spec``
    follows from the hyperparameters. An optional class attribute ``locations`` lists hyperparameters that only say where the data
    lie (a path, say): they are in no identity and no record, since :meth:`fingerprint` covers what lies there.

    Tasks of several classes have class attribute ``labelled`` True, ``sample_spec.classes`` ways, and as instance attribute
    ``single_class`` the distribution whose tasks are their classes, which feature extractors learn from. Their shots and query are
    counted per class, and row i of support and query has class i modulo ways.
    """

    kind: ClassVar[Kind]
    sample_spec: SampleSpec

    def size(self, split: Split) -> int | None:
        """Number of distinct tasks of a split (classes), or None where they are drawn from a continuum."""

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Draw ``shots`` support and ``query`` query samples (either may be 0) of task number ``task``, all randomness from ``rng``.

        Of a labelled task, so many of each class.

        Where :meth:`size` is None, the task itself is drawn from ``rng`` and ``task`` only names it.

        Raises:
            DataError: the task has fewer than ``shots + query`` samples, or its data are missing.
        """

    def fingerprint(self) -> str:
        """Content hash of the data behind the tasks ('' where everything is in the code)."""


# ------------------------------------------------------------------ networks and games
class Network(Protocol):
    """A family of networks: builds one module per role.

    Class attribute ``kinds``: the sample kinds it fits. Roles: ``generator`` (z (B, latent) -> samples (B, *shape)),
    ``discriminator`` (samples -> logits (B,)), ``model`` (inputs (B, F) -> targets (B, *targets)), ``autoencoder`` (two forms: samples
    and noise (B, latent) -> reconstructions, means (B, latent) and log variances (B, latent); and z (B, latent) -> samples),
    ``classifier`` (samples -> logits (B, classes)). Where ``spec.classes`` is not 0, generator and discriminator take one-hot labels
    (B, classes) as a second argument.
    Default initialisers draw from torch's global generator, which the harness seeds. Class attribute ``roles`` lists those that it
    builds; all of them, where it is missing. Class attribute ``mixes_samples`` is True
    where logits depend on other samples of the batch, which penalties on per-sample gradients can't have; may be missing. So may
    ``fused_norms``: the values of its hyperparameter ``norm`` that mean PyTorch's layer, batch or instance norms (their names,
    where there is no such hyperparameter), whose third derivatives such a penalty needs at second order, and which are wrong. A
    network that wraps another one takes it as a hyperparameter, ``network: Network``.
    """

    kinds: ClassVar[tuple[Kind, ...]]

    def build(self, role: str, spec: SampleSpec) -> nn.Module:
        """The module of ``role`` for samples of ``spec``; a generator and an autoencoder have an int attribute ``latent``."""


class GanLoss(Protocol):
    """Two-player loss on raw logits; both players see real (B,) and fake (B',) logits. Each returns a scalar to minimise."""

    def discriminator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        """What the discriminator minimises."""

    def generator_loss(self, real_B: Tensor, fake_B: Tensor) -> Tensor:
        """What the generator minimises."""


@dataclass(frozen=True)
class Play:
    """One look at a two-player game, of one task: what penalties are made from.

    Attributes:
        real, fake: samples (B, ...) and (B', ...) as the discriminator sees them.
        latents: (B', latent) that ``fake`` was made from.
        labels: one-hot (B, classes) of ``real``, or None; row i of any batch has the label of row i modulo B.
        critic: the discriminator at its weights.
        generate: latents (B', latent) -> samples, by the generator at its weights.
        weights: {player: {name: tensor}} that the networks run with.
    """

    real: Tensor
    fake: Tensor
    latents: Tensor
    labels: Tensor | None
    critic: Critic
    generate: Callable[[Tensor], Tensor]
    weights: Mapping[str, Mapping[str, Tensor]]

    def logits(self, x_B: Tensor) -> Tensor:
        """Logits (B,) of samples."""
        return self.critic.logits(x_B, self.labels_of(x_B))

    def features(self, x_B: Tensor) -> Tensor:
        """Inputs (B, F) of the discriminator's last linear layer.

        Raises:
            ContractError: it has none.
        """
        return self.critic.features(x_B, self.labels_of(x_B))

    def input_gradient(self, x_B: Tensor) -> Tensor:
        """d(sum of logits)/dx, shape of ``x``, weights held fixed; differentiable to any order."""
        return self.critic.input_gradient(x_B, self.labels_of(x_B))

    def labels_of(self, x_B: Tensor) -> Tensor | None:
        """Labels (B, classes) of the rows of a batch, None where the task has none."""
        return cycled(self.labels, len(x_B))


def cycled(labels: Tensor | None, n: int) -> Tensor | None:
    """Labels (n, classes) of ``n`` rows: those given (B, classes), from the beginning again and again."""
    return None if labels is None else labels.repeat(-(-n // len(labels)), 1)[:n]


class Penalty(Protocol):
    """A regulariser of the game itself, of one kind or several. Each method may be missing.

    Class attribute ``players``: whose loss or weights it acts on (default: discriminator). Authors never call autograd:
    ``play.input_gradient(x)`` gives per-sample gradients of the logits. Class attribute ``uses_input_gradient`` makes second-order
    meta-gradients third-order, so networks with fused norms are refused.
    """

    players: ClassVar[tuple[str, ...]]
    uses_input_gradient: ClassVar[bool]

    def start(self) -> Tree:
        """Initial state, for penalties that keep one."""

    def penalty(self, player: str, play: Play, state: Tree, draws: Draws) -> tuple[Tensor, Tree]:
        """Scalar that joins the loss of ``player``, and the new state (``{}`` where there is none)."""

    def reparametrise(self, player: str, module: nn.Module, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What the network runs with instead of ``weights`` {name: tensor}, in adaptation, meta-training and sampling alike."""

    def project(self, player: str, name: str, weight: Tensor) -> Tensor:
        """The nearest admissible value of a weight; after every adaptation step and every outer step."""


class MetaRegulariser(Protocol):
    """A regulariser of meta-learning that combines with any learner. Every method may be missing.

    It may own meta parameters, learned beside the learner's: the engine keeps them in ``meta`` under the regulariser's name and
    hands them in as ``own``. Class attribute ``needs_objective``: it acts through the learner's meta-gradient, so learners without
    one (class attribute ``has_objective`` False) are refused.
    """

    needs_objective: ClassVar[bool]

    def init(self, rng: torch.Generator, game: Game, meta: Tree) -> Tree:
        """Its own meta parameters, {player: tree}; ``meta`` holds the learner's."""

    def perturb(self, own: Tree, meta: Tree, weights: Tree, draws: Draws) -> Tree:
        """What the networks of one task run with in meta-training instead of ``weights``; new numbers at every forward pass."""

    def layers(self, game: Game, meta: Tree) -> Mapping[str, Sequence[str]]:
        """{player: names of the layers whose outputs :meth:`activation` replaces}."""

    def activation(self, own: Tree, call: LayerCall, draws: Draws) -> tuple[Tensor, Tensor | None]:
        """New output of a layer for one task's batch, and a scalar that joins the player's loss (None: nothing)."""

    def term(self, own: Tree, meta: Tree, game: Engine, episodes: Tree, draws: Draws) -> dict[str, Tensor]:
        """{player: scalar} that joins the meta-objective, once per outer step: a function of meta, or of all tasks together."""

    def adjust_task_gradient(self, meta: Tree, gradient: Tree) -> Tree:
        """A new meta-gradient of one task, before the mean over tasks (clipping per task)."""

    def adjust_gradient(self, meta: Tree, gradient: Tree) -> Tree:
        """A new meta-gradient (coupled weight decay, clipping)."""

    def adjust_update(self, meta: Tree, updated: Tree, rates: Tree) -> Tree:
        """New meta parameters after the step (decoupled weight decay); ``rates``: the outer rate of each leaf of ``meta``."""


@dataclass(frozen=True)
class LayerCall:
    """One pass of a task's batch through a layer.

    Attributes:
        player, layer: whose, and its name within the network.
        inputs, output: (B, ...) of the batch.
        adapting: True while the inner loop takes a gradient; False where the query is judged or samples are drawn.
        training: True in meta-training.
        run: ``run(weights, inputs)`` is the layer's own function at other weights {name: tensor}.
    """

    player: str
    layer: str
    inputs: Tensor
    output: Tensor
    adapting: bool
    training: bool
    run: Callable[[Mapping[str, Tensor], Tensor], Tensor]


class Augmentation(Protocol):
    """A random transform of a task's samples: functions of ONE task, all randomness from ``draws``. Each may be missing.

    Class attribute ``kinds``: the sample kinds it fits. Class attribute ``leaks`` is True where adaptation sees transformed samples
    and the generator, whose fakes are not transformed, may learn to imitate the transforms; rows say so. Attribute
    ``generated_share`` in [0, 1): weight of the loss that takes generated samples for real ones.
    """

    kinds: ClassVar[tuple[Kind, ...]]
    leaks: ClassVar[bool]
    generated_share: float

    def augment_task(self, episode: Tree, draws: Draws) -> Tree:
        """What meta-training sees instead of ``{"support": {"x": (S, ...)}, "query": {"x": (Q, ...)}}``; once per outer step."""

    def augment_support(self, batch: Tree, draws: Draws) -> Tree:
        """What one adaptation step sees instead of ``{"x": (S, ...)}``, at meta-test too."""

    def start(self) -> Tree:
        """Initial state, for augmentations of the discriminator's view that keep one."""

    def augment_view(self, x: Tensor, state: Tree, draws: Draws) -> Tensor:
        """What the discriminator sees instead of samples (B, ...), real and generated alike; derivatives go through it."""

    def watch(self, real_logits: Tensor, state: Tree) -> Tree:
        """The new state after the discriminator has judged the real samples (B,)."""


@dataclass(frozen=True)
class Parts:
    """What the harness hands to a game: modules by player, and the components that the suite names.

    ``critic(module, weights)`` is a network at its weights: called, it runs, for all tasks at once where the engine can
    (``torch.func.functional_call`` gives the same numbers, slower); penalties get its logits and their gradient with respect to the
    input. ``spec`` says what the samples look like.
    """

    modules: Mapping[str, nn.Module]
    critic: Callable[[nn.Module, Mapping[str, Tensor]], Critic]
    loss: GanLoss | None = None
    penalties: Mapping[str, Penalty] = field(default_factory=dict)
    augmentations: Mapping[str, Augmentation] = field(default_factory=dict)
    spec: SampleSpec | None = None


@dataclass(frozen=True)
class Lookahead:
    """A player's loss is taken at its opponent after ``steps`` further gradient steps of rate ``lr`` on the opponent's own loss.

    Source: Metz et al., 2017 (unrolled GAN), https://arxiv.org/abs/1611.02163, eq. 10.
    """

    opponent: str
    steps: int
    lr: float


class Game(Protocol):
    """Players, their losses on one task's batch, and samples. Pure: no state outside ``state``.

    Attributes:
        schedule: groups move in turn; the players of a group move simultaneously.
        lookahead: {player: what it foresees}; its loss is taken where its opponent will be.
        predicts: True where :meth:`sample` predicts what belongs to ``batch["x"]`` instead of drawing new samples; may be missing.
        spec: what the samples look like, for learners that read them; may be missing.
    """

    players: tuple[str, ...]
    schedule: tuple[tuple[str, ...], ...]
    modules: Mapping[str, nn.Module]
    lookahead: Mapping[str, Lookahead]

    def state(self) -> Tree:
        """Initial state of the game's components (scope meta), ``{}`` where none."""

    def losses(
        self, weights: Tree, batch: Mapping[str, Tensor], players: tuple[str, ...], state: Tree, draws: Draws
    ) -> tuple[dict[str, Tensor], Tree]:
        """Scalar loss of each of ``players``, and the new state."""

    def sample(self, weights: Tree, batch: Mapping[str, Tensor], n: int, draws: Draws) -> Tensor:
        """(n, *shape) samples; for a game that ``predicts``, the predictions at ``batch["x"]``, whatever ``n``."""

    def health(self, weights: Tree, episode: Tree, state: Tree, draws: Draws) -> dict[str, Tensor]:
        """Scalars that tell whether the game goes well on ``{"support": {"x": ...}, "query": ...}``; may be missing.

        Named as in the rules' ``health_outputs``, and never part of a loss. Norms of gradients the harness measures itself.
        """


class GameRules(Protocol):
    """What a game factory returns: hyperparameters that can be bound to modules.

    Class attributes: ``roles`` {player: network role}, ``kinds`` of samples it plays with, ``needs_loss``; ``predicts`` as of the game;
    ``labels``: what it makes of labelled tasks, "none" (refuses them, the default), "optional" or "required"; ``health_outputs``: how
    the values of :meth:`Game.health` read, {name: Output about "game"}.
    """

    roles: ClassVar[Mapping[str, str]]
    kinds: ClassVar[tuple[Kind, ...]]
    needs_loss: ClassVar[bool]

    def bind(self, parts: Parts) -> Game:
        """The game on these modules, loss and penalties."""


# ------------------------------------------------------------------ learners
class Optimiser(Protocol):
    """A gradient transformation, differentiable through: used inside adaptation and by the outer loop."""

    def start(self, params: Tree) -> Tree:
        """State before the first step, a tree of tensors (``{}`` where none)."""

    def direction(self, grads: Tree, state: Tree, step: int) -> tuple[Tree, Tree]:
        """What is multiplied by ``-lr`` and added, and the new state; ``step`` counts from 0."""


class MetaLearner(Protocol):
    """Pure functions of ONE task; ``self`` holds hyperparameters only.

    ``meta`` is any tree of tensors; put a player's name into the path of each leaf that belongs to it.
    Class attributes: ``trains`` is False for baselines that skip the outer loop; ``has_objective`` is True for those that call
    ``game.meta_gradient``; ``space`` says what tuning varies; ``at_test`` lists the hyperparameters that act on adaptation to held-out
    tasks, which are all that a suite's ``test:`` may replace. Instance attribute ``inner_state`` "carried" makes the engine start
    each task from the mean over tasks of the inner states that the last outer step ended with. Instance attributes ``outer_lr``,
    ``outer_optimiser`` and ``outer_schedule`` ("constant", "linear", "late-linear", "cosine")
    configure ``outer.descend``. A trial goes on with a larger budget from where it ended only if its schedule is constant and nobody has
    read ``outer.progress``. What contract tests should not expect of a learner, ``exact_gradient`` and ``crosses_players`` tell
    them, see :class:`bench.testing.MetaLearnerContract`.

    A bound that no learner can be held to adapts to what it is judged by: with class attribute ``privileged`` True, the support of a
    held-out task holds the task's held-out real samples too, and with instance attribute ``head_start`` so many adaptation steps come
    before step 0. Reports mark such an arm and rank it nowhere.
    """

    trains: ClassVar[bool]
    has_objective: ClassVar[bool]
    space: ClassVar[Space]
    at_test: ClassVar[tuple[str, ...]]

    def init(self, rng: torch.Generator, game: Game) -> Tree:
        """Meta parameters before the first outer step."""

    def begin(self, meta: Tree, support: Tree, draws: Draws) -> tuple[Tree, Tree]:
        """What adaptation changes, ``{player: {name: tensor}}`` (any subset), and ``{player: inner state}``."""

    def weights(self, meta: Tree, params: Tree) -> Tree:
        """What the networks run with, ``{player: {name: tensor}}``."""

    def update(self, meta: Tree, player: str, step: int, params: Tree, grads: Tree, inner: Tree, support: Tree) -> tuple[Tree, Tree]:
        """One adaptation step of ONE player: new params and inner state, same names, shapes and dtypes."""

    def deploy(self, meta: Tree, params: Tree, inner: Tree) -> Tree:
        """What samples come from (an average, say); default: ``params``."""

    def meta_update(self, meta: Tree, game: Engine, episodes: Tree, outer: Outer, draws: Draws) -> tuple[Tree, Tree]:
        """One outer step on T stacked episodes ``{"support": {"x": (T, S, ...)}, "query": ...}``: new meta and a log {player: (T,)}."""


class SamplingLearner(Protocol):
    """A learner without a game: it draws a task's samples straight from the support. NumPy, one task at a time.

    Class attributes: ``plays`` is False, which tells it from a :class:`MetaLearner`; ``trains`` is False; ``kinds``, the sample kinds
    it can draw. Attribute ``episodes``: how many meta-train tasks :meth:`fit` gets, 0 for none.
    """

    plays: ClassVar[bool]
    trains: ClassVar[bool]
    kinds: ClassVar[tuple[Kind, ...]]

    @property
    def episodes(self) -> int:
        """Number of meta-train tasks."""

    def fit(self, episodes: Sequence[Episode]) -> Mapping[str, np.ndarray]:
        """What is learned from meta-train tasks, {name: array}."""

    def sample(self, fitted: Mapping[str, np.ndarray], support: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, *shape) samples of the task with this support (S, *shape), all randomness from ``rng``."""


# ------------------------------------------------------------------ measures
class FeatureExtractor(Protocol):
    """Maps samples to features in which distances mean something. Class attribute ``kinds`` as for networks.

    Features come in units of order one, by one factor that is frozen with everything else. A factory may also be a function with
    the attribute ``kinds`` that returns a plain function, samples (N, *shape) -> features (N, F): that is named by its source and
    hyperparameters, and has no certificate.
    """

    kinds: ClassVar[tuple[Kind, ...]]

    def prepare(self, tasks: TaskDistribution, cache: Path) -> None:
        """Load the shipped weights for ``tasks``, or train them once on meta-train and keep them in ``cache``.

        Raises:
            MetricError: its certificate is below what makes a measure trustworthy.
        """

    def features(self, samples: np.ndarray) -> np.ndarray:
        """(N, *shape) -> (N, F), float64, frozen and independent of the batch."""

    def fingerprint(self) -> str:
        """Content hash of everything that can change a feature."""

    def certificate(self) -> dict[str, Any]:
        """Evidence of quality, such as ``{"one_shot_accuracy": 0.64, "ways": 20}``; ``{}`` where there is none."""


@dataclass(frozen=True)
class Output:
    """How one value of a metric reads.

    Attributes:
        better: which way is better.
        ideal: best value, NaN where there is no such number.
        label: what it is, with its unit.
        about: what it judges: the samples that a game has led to, or the health of the game itself, which reports show apart.
        range: least and greatest value that it can have, such as (0, 1) of a share, where reports end its intervals; None where values
            have no two ends.
    """

    better: Literal["lower", "higher", "closer"]
    ideal: float
    label: str
    about: Literal["samples", "game"] = "samples"
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Adapted:
    """Everything a metric may look at, for T meta-test tasks after the same number of adaptation steps.

    Attributes:
        fake, query, support: samples (T, M, ...), (T, Q, ...), (T, S, ...).
        fake_features, query_features, support_features: (T, ., F), float64.
        modes: known modes by task, or None.
        targets: what a game that ``predicts`` should have said at the query, None for others: values, or one-hot labels. ``fake`` then
            holds its predictions, and features are predictions and targets themselves.
        support_labels, query_labels, fake_labels: one-hot (T, ., classes) of labelled tasks, None for others and for predictions.
        features: samples (T, N, ...) -> (T, N, F) as above, for samples that a metric makes itself.
        judge: support (T, S, ...), its labels (T, S, classes) and inputs (T, N, ...) -> logits (T, N, classes) of the classifier that the
            metric's ``judge`` names, adapted to that support; None for metrics that name none. A row of labels times w weighs w.
    """

    fake: np.ndarray
    query: np.ndarray
    support: np.ndarray
    fake_features: np.ndarray
    query_features: np.ndarray
    support_features: np.ndarray
    modes: Sequence[Modes] | None = None
    targets: np.ndarray | None = None
    support_labels: np.ndarray | None = None
    query_labels: np.ndarray | None = None
    fake_labels: np.ndarray | None = None
    features: Callable[[np.ndarray], np.ndarray] | None = None
    judge: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None = None


class Metric(Protocol):
    """Values per task, batched. Class attributes: ``outputs`` {name: Output}, ``kinds``, ``needs_modes``, ``version``.

    A name in ``pooled`` is one value over all tasks; the others are one value per task. Where they are True, ``needs_labels`` asks for
    labelled tasks, and ``needs_predictions`` for a game that ``predicts``, which no other metric can judge.

    ``judge`` asks for a classifier that is meta-trained once on the meta-train tasks and kept beside the results: ``{"games": {name: {}},
    "networks": {name: {...}}, "meta_learners": {name: {...}}}``, components with their hyperparameters; the metric's own hyperparameters
    ``outer_steps`` and ``adaptation_steps`` say for how long. :attr:`Adapted.judge` is that classifier; one per suite.
    """

    outputs: ClassVar[Mapping[str, Output]]
    kinds: ClassVar[tuple[Kind, ...]]
    needs_modes: ClassVar[bool]
    version: ClassVar[int]

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """{name: (T,)}, or {name: ()} for a pooled value; NaN where undefined, never an exception for one bad task."""


Factory = Callable[..., Any]
"""What a hook returns per name: a class or function with keyword-only, annotated hyperparameters."""
