"""Networks: what each role gives for every kind of sample, labels, autoencoders, parameter names and places in the network."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.contracts import ContractError, SampleSpec
from bench.game.checks import check_module, check_third_order
from bench_builtin.meta_learners.selection import split_by
from bench_builtin.networks import NETWORKS, Attention, Conv1d, Conv4, Dcgan, EncoderHead, MinibatchStd, Mlp, Pac, Resnet
from bench_builtin.networks.conditional import Concatenated
from bench_builtin.networks.layers import Maxout
from bench_builtin.networks.resnet import Residual
from bench_builtin.regularisers import R1

POINTS = SampleSpec("points", (2,))
SIGNAL = SampleSpec("signal", (2, 12), -1.0, 1.0)
GREY = SampleSpec("image", (1, 8, 8), -1.0, 1.0)
COLOUR = SampleSpec("image", (3, 8, 12), 0.0, 1.0)
PLAIN = {
    "mlp": (lambda **more: Mlp(width=6, latent=3, **more), (POINTS, SIGNAL, GREY, COLOUR)),
    "dcgan": (lambda **more: Dcgan(width=4, latent=3, **more), (GREY, COLOUR)),
    "attention": (lambda **more: Attention(width=4, latent=3, **more), (GREY, COLOUR)),
    "resnet": (lambda **more: Resnet(width=3, latent=3, **more), (GREY, COLOUR)),
    "conv1d": (lambda **more: Conv1d(width=4, latent=3, **more), (SIGNAL,)),
}
FITTING = [pytest.param(make, spec, id=f"{name}-{spec.kind}{spec.shape}") for name, (make, specs) in PLAIN.items() for spec in specs]
EACH = [pytest.param(make, specs[0], id=name) for name, (make, specs) in PLAIN.items()]
NORMS = ("none", "group", "rms")
BATCH, CLASSES = 4, 3


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def samples(spec, n=BATCH):
    return torch.rand(n, *spec.shape) * 2 - 1


def labels(n=BATCH, classes=CLASSES):
    return torch.eye(classes)[torch.arange(n) % classes]


def labelled(spec):
    return replace(spec, classes=CLASSES)


# ------------------------------------------------------------------ roles
@pytest.mark.parametrize(("make", "spec"), FITTING)
@pytest.mark.parametrize("classes", [0, CLASSES])
def test_players_have_the_shapes_of_the_game(make, spec, classes):
    given = [] if classes == 0 else [labels()]
    for norm, conditioning in itertools.product(NORMS, ("projection", "concatenation")):
        network, spec = make(norm=norm, conditioning=conditioning), replace(spec, classes=classes)
        generator, discriminator = (network.build(role, spec) for role in ("generator", "discriminator"))
        made = generator(torch.randn(BATCH, generator.latent), *given)
        assert made.shape == (BATCH, *spec.shape)
        if spec.low is not None:
            assert made.min() >= spec.low
            assert made.max() <= spec.high
        assert discriminator(made, *given).flatten().shape == (BATCH,)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("make", "spec"), EACH)
def test_a_sample_is_judged_whatever_stands_beside_it(make, spec, norm):
    """Nothing keeps or mixes statistics of batches, so the harness may stack tasks and penalties may differentiate three times."""
    discriminator = make(norm=norm).build("discriminator", spec).double()
    check_module("discriminator", discriminator)
    check_third_order({"discriminator": discriminator}, [R1()], order=2)
    x = samples(spec).double()
    alone = torch.cat([discriminator(one[None]) for one in x])
    assert torch.allclose(discriminator(x), alone, rtol=1e-10)


@pytest.mark.parametrize(("make", "spec"), FITTING)
def test_a_classifier_has_a_logit_per_class(make, spec):
    assert make().build("classifier", labelled(spec))(samples(spec)).shape == (BATCH, CLASSES)


@pytest.mark.parametrize("network", [Mlp(), Dcgan(), Conv4()])
def test_a_classifier_of_samples_without_labels_is_refused(network):
    with pytest.raises(ContractError, match="needs a labelled task distribution"):
        network.build("classifier", GREY)


@pytest.mark.parametrize("sides", [(4, 4), (8, 12), (16, 16), (28, 28), (1, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_conv4_reads_images_of_any_size_each_on_its_own(sides, channels):
    spec = SampleSpec("image", (channels, *sides), classes=5)
    classifier = Conv4(width=4).build("classifier", spec).double()
    x = samples(spec).double()
    assert classifier(x).shape == (BATCH, 5)
    assert torch.allclose(classifier(x)[:1], classifier(x[:1]), rtol=1e-10)
    assert sum(isinstance(layer, nn.Conv2d) for layer in classifier) == 4


def test_a_regression_model_gives_targets():
    spec = SampleSpec("regression", (3,), targets=(2,))
    assert Mlp(width=4).build("model", spec)(torch.randn(BATCH, 3)).shape == (BATCH, 2)


@pytest.mark.parametrize(
    ("network", "role", "spec", "message"),
    [
        (Dcgan(), "model", GREY, "dcgan has no role 'model' for samples of kind image; it builds generator, discriminator, autoencoder"),
        (EncoderHead(), "generator", GREY, "encoder-head has no role 'generator'; it builds a model"),
        (Conv4(), "generator", GREY, "conv4 has no role 'generator'; it builds a classifier"),
        (Dcgan(), "generator", POINTS, "dcgan takes samples of kind image, got points"),
        (Pac(network=Dcgan()), "generator", POINTS, "pac: Dcgan takes samples of kind image, got points"),
        (Dcgan(), "generator", replace(GREY, shape=(1, 6, 8)), "multiples of 4, got 6 x 8; change the size"),
        (Resnet(), "discriminator", replace(GREY, shape=(1, 8, 10)), "resnet needs image sides that are multiples of 4, got 8 x 10"),
        (Conv1d(), "generator", replace(SIGNAL, shape=(1, 10)), "conv1d needs a length that is a multiple of 4, got 10; change the length"),
    ],
)
def test_what_can_not_be_built_is_said(network, role, spec, message):
    with pytest.raises(ContractError, match=message):
        network.build(role, spec)


# ------------------------------------------------------------------ labels
@pytest.mark.parametrize(("make", "spec"), EACH)
@pytest.mark.parametrize("conditioning", ["projection", "concatenation"])
def test_both_players_listen_to_labels(make, spec, conditioning):
    network = make(conditioning=conditioning)
    generator, discriminator = (network.build(role, labelled(spec)) for role in ("generator", "discriminator"))
    z, x = torch.randn(1, generator.latent).expand(CLASSES, -1), samples(spec, 1).expand(CLASSES, *spec.shape)
    made, judged = generator(z, torch.eye(CLASSES)), discriminator(x, torch.eye(CLASSES)).flatten()
    for i, j in itertools.combinations(range(CLASSES), 2):
        assert not torch.allclose(made[i], made[j])
        assert not torch.isclose(judged[i], judged[j])


@pytest.mark.parametrize(("make", "spec"), EACH)
def test_a_projected_logit_adds_the_product_of_class_and_features(make, spec):
    """w . f + b + <V y, f> + c . y, f what the last layer sees (Miyato & Koyama, 2018, eq. 3)."""
    discriminator = make(conditioning="projection").build("discriminator", labelled(spec)).double()
    *body, last = discriminator.network
    x, y = samples(spec).double(), labels().double()
    f = nn.Sequential(*body)(x)
    w, V, b, c = last.weight[0], last.weight[1:].T, last.bias[0], last.bias[1:]
    want = f @ w + b + ((y @ V.T) * f).sum(1) + y @ c
    assert torch.allclose(discriminator(x, y).flatten(), want, rtol=1e-10)
    assert torch.allclose(discriminator(x, torch.zeros_like(y)).flatten(), f @ w + b, rtol=1e-10)


def test_concatenated_labels_are_constant_channels_of_images_and_features_of_points():
    x, y = samples(GREY), labels()
    channels = torch.cat([x, y[:, :, None, None].expand(BATCH, CLASSES, 8, 8)], 1)
    assert torch.equal(Concatenated(nn.Identity(), GREY.shape)(x, y), channels)
    flat = torch.cat([x.flatten(1), y], 1)
    assert torch.equal(Concatenated(nn.Identity(), (64,))(x, y), flat)
    mlp = Mlp(conditioning="concatenation").build("discriminator", labelled(GREY))
    assert torch.equal(mlp(x, y), mlp.network(flat))


@pytest.mark.parametrize(("make", "spec"), EACH)
def test_a_generators_labels_stand_beside_the_latents(make, spec):
    generator = make().build("generator", labelled(spec))
    z = torch.randn(BATCH, generator.latent)
    assert torch.equal(generator(z, labels()), generator.body(torch.cat([z, labels()], 1)).reshape(BATCH, *spec.shape))


@pytest.mark.parametrize("conditioning", ["projection", "concatenation"])
@pytest.mark.parametrize(("make", "spec"), EACH)
def test_without_classes_conditioning_changes_nothing(make, spec, conditioning):
    for role in ("generator", "discriminator"):
        built = []
        for more in ({}, {"conditioning": conditioning}):
            torch.manual_seed(1)
            built.append(dict(make(**more).build(role, spec).named_parameters()))
        assert built[0].keys() == built[1].keys()
        assert all(torch.equal(weight, built[1][name]) for name, weight in built[0].items())


def test_a_generator_asks_for_its_labels():
    z = torch.randn(BATCH, 8)
    with pytest.raises(ContractError, match=r"takes one-hot labels \(B, 3\)"):
        Mlp().build("generator", labelled(POINTS))(z)
    with pytest.raises(ContractError, match="takes no labels"):
        Mlp().build("generator", POINTS)(z, labels())


# ------------------------------------------------------------------ autoencoders
@pytest.mark.parametrize(("make", "spec"), FITTING)
def test_an_autoencoder_decodes_what_it_encodes(make, spec):
    autoencoder = make().build("autoencoder", spec)
    x, noise = samples(spec), torch.randn(BATCH, 3)
    reconstruction, mean, log_variance = autoencoder(x, noise)
    assert autoencoder.latent == 3
    assert reconstruction.shape == x.shape
    assert mean.shape == log_variance.shape == (BATCH, 3)
    assert torch.equal(torch.cat([mean, log_variance], 1), autoencoder.encoder(x))
    assert torch.allclose(reconstruction, autoencoder(mean + log_variance.exp().sqrt() * noise), atol=1e-6)
    assert torch.equal(autoencoder(x, torch.zeros_like(noise))[0], autoencoder(mean))
    assert {name.split(".")[0] for name, _ in autoencoder.named_parameters()} == {"encoder", "decoder"}


@pytest.mark.parametrize(("make", "spec"), EACH)
def test_an_autoencoder_is_made_like_a_discriminator_and_a_generator(make, spec):
    autoencoder = make().build("autoencoder", spec)
    generator, discriminator = (make().build(role, spec) for role in ("generator", "discriminator"))
    shapes = [[tuple(weight.shape) for weight in part.parameters()] for part in (autoencoder.decoder, generator)]
    assert shapes[0] == shapes[1]
    encoder, judge = ([tuple(weight.shape) for weight in part.parameters()] for part in (autoencoder.encoder, discriminator))
    assert encoder[:-2] == judge[:-2]
    assert encoder[-1] == (2 * autoencoder.latent,)


# ------------------------------------------------------------------ names and places
def names(module):
    return [name for name, _ in module.named_parameters()]


def test_names_of_parameters_stay_what_patterns_and_checkpoints_call_them():
    assert names(Mlp().build("generator", POINTS)) == [f"body.{i}.{what}" for i in (0, 2, 4) for what in ("weight", "bias")]
    assert names(Mlp(depth=1).build("discriminator", POINTS)) == ["1.weight", "1.bias", "3.weight", "3.bias"]
    assert names(Dcgan(norm="rms").build("generator", GREY)) == [
        *("body.0.weight", "body.0.bias", "body.2.gain", "body.4.weight", "body.4.bias", "body.5.gain", "body.7.weight", "body.7.bias"),
    ]
    assert names(Dcgan().build("discriminator", GREY)) == [f"{i}.{what}" for i in (0, 2, 5) for what in ("weight", "bias")]
    assert names(EncoderHead(encoder=(5,), head=()).build("model", SampleSpec("regression", (1,), targets=(1,)))) == [
        *("encoder.0.weight", "encoder.0.bias", "head.0.weight", "head.0.bias"),
    ]


@pytest.mark.parametrize("classes", [0, CLASSES])
@pytest.mark.parametrize("wrap", [lambda network: network, lambda n: Pac(network=n), lambda n: MinibatchStd(network=n)])
@pytest.mark.parametrize(("make", "spec"), EACH)
def test_places_are_the_layers_next_to_latents_and_logits(make, spec, wrap, classes):
    """head: a generator's first layer, and the layer that gives logits, with what projects labels."""
    modules = {role: wrap(make()).build(role, replace(spec, classes=classes)) for role in ("generator", "discriminator")}
    weights = {role: dict(module.named_parameters()) for role, module in modules.items()}
    head, body = split_by(["head"], weights)
    assert split_by(["body"], weights) == (body, head)
    assert list(head["generator"]) == ["body.0.weight", "body.0.bias"]
    assert head["generator"]["body.0.weight"].shape[1] == 3 + classes
    logits = list(weights["discriminator"])[-2:]
    assert list(head["discriminator"]) == logits
    assert split_by(["generator.first", "discriminator.last"], weights)[0] == head
    both = split_by(["generator.last", "discriminator.first"], weights)[0]
    assert list(both["generator"]) == list(weights["generator"])[-2:]
    assert list(both["discriminator"]) == list(weights["discriminator"])[:2]


# ------------------------------------------------------------------ one network each
def test_maxout_takes_the_largest_of_five():
    x = torch.tensor([[1.0, 5.0, 2.0, 3.0, 4.0, -5.0, -1.0, -3.0, -2.0, -4.0]])
    assert torch.equal(Maxout()(x), torch.tensor([[5.0, -1.0]]))


def test_the_networks_of_pacgan_have_their_sizes():
    """G: 2 -> 4 x 400 -> 2 with a gain per hidden unit; D: 2 -> 3 x 200 of 5 pieces -> 1."""
    network = Mlp(
        width={"generator": 400, "discriminator": 200},
        depth={"generator": 4, "discriminator": 3},
        activation={"generator": "relu", "discriminator": "maxout"},
        norm={"generator": "rms", "discriminator": "none"},
        latent=2,
    )
    generator, discriminator = (sum(w.numel() for w in network.build(role, POINTS).parameters()) for role in ("generator", "discriminator"))
    assert generator == (2 + 1) * 400 + 3 * (400 + 1) * 400 + 4 * 400 + (400 + 1) * 2
    assert discriminator == (2 + 1) * 1000 + 2 * (200 + 1) * 1000 + (200 + 1)


@pytest.mark.parametrize("given", [{}, {"generator": 4}, {"generator": 4, "critic": 2}])
def test_widths_are_of_both_sides_or_of_neither(given):
    with pytest.raises(ContractError, match="mlp: width has values for .*; give one value, or one for each of generator and discriminator"):
        Mlp(width=given)


def test_a_residual_block_without_its_branch_is_its_shortcut():
    """Doubling repeats each pixel, halving takes means of 2 x 2."""
    x = torch.rand(1, 2, 4, 4)
    for sides, want in (("doubled", x.repeat_interleave(2, 2).repeat_interleave(2, 3)), ("halved", x.unfold(2, 2, 2).unfold(3, 2, 2))):
        block = Residual(2, 2, "none", sides)
        nn.init.zeros_(block.main[-2 if sides == "halved" else -1].weight)
        nn.init.zeros_(block.main[-2 if sides == "halved" else -1].bias)
        shortcut = next(layer for layer in block.shortcut if isinstance(layer, nn.Conv2d))
        shortcut.weight.data = torch.eye(2)[:, :, None, None]
        nn.init.zeros_(shortcut.bias)
        assert torch.allclose(block(x), want if sides == "doubled" else want.mean((4, 5)))


def test_every_network_is_registered_under_its_name():
    assert set(NETWORKS) == {"mlp", "dcgan", "attention", "resnet", "conv1d", "conv4", "encoder-head", "pac", "minibatch-std"}
    assert {name for name, one in NETWORKS.items() if getattr(one, "mixes_samples", False)} == {"pac", "minibatch-std"}
