"""report.html of one run: gathered facts to HTML, or a sentence on what is missing."""

from dataclasses import asdict
from pathlib import Path

from vaegan.data import TRAIN
from vaegan.glossary import DRAWN_FROM, setting_words
from vaegan.markup import Content, Markup, tag
from vaegan.model import Sampler
from vaegan.report import pictures, scores
from vaegan.report.gathering import GatheredRun, gather
from vaegan.report.page import STAGE_TITLES, again, check_out, command, facts, gap, page, picture, section, table, write_page
from vaegan.report.pictures import counts_for
from vaegan.report.scores import evaluate_command
from vaegan.transparency import COLOURS
from vaegan.types import ProgressCallback


def write_report(
    run: str | Path, out: str | Path | None = None, *, with_images: bool = True, progress: ProgressCallback | None = None
) -> Path:
    """Writes a page about a run, which need not be finished or evaluated: one file that needs no network and nothing beside it.

    It becomes report.html in the run's folder, or `out`; only `with_images` it may hold images of the data and their place on the
    disk. Returns where it lies.
    """
    path = Path(run)
    target = Path(out) if out is not None else path / "report.html"
    check_out(target)
    write_page(target, report_page(gather(path, with_data=with_images, progress=progress), with_images))
    return target


def report_page(run: GatheredRun, with_images: bool) -> str:
    """HTML of a run's report."""
    counts = counts_for(run.record.config.data.shape)
    parts = [
        verdict(run),
        samples(run, counts),
        scores.scores(run),
        progress(run),
        real(run, counts),
        reconstructions(run, counts),
        interpolations(run),
        copies(run, counts),
        scores.latent_use(run),
        scores.curves(run),
        scores.guards(run),
        scores.checks(run),
        settings(run, with_images),
        about(run, with_images),
    ]
    return page(f"{run.name} - vaegan report", headline(run, with_images), parts)


def settings(run: GatheredRun, with_images: bool) -> Markup:
    """Every setting, and the command that trains the same again."""
    record, values = run.record, asdict(run.record.config)
    flat = {name: value for name, value in values.items() if not isinstance(value, dict)}
    parts = {"run": flat, **{name: value for name, value in values.items() if isinstance(value, dict)}}
    tables = [
        table(["Setting", "Value"], [[tag("code", key), setting_words(value)] for key, value in part.items()], "settings", name)
        for name, part in parts.items()
    ]
    images = sum(plan.images or 0 for plan in record.plan)
    source = record.source if with_images else "DATA"
    start = [] if record.init is None else ["--init", record.init if with_images else "RUN"]
    lines = command("train", source, "--config", "settings.toml", "--images", str(images), *start)
    words = "# the settings lie in run.json under config; those that differ from the preset go into settings.toml"
    details = tag("details", tag("summary", "All settings"), tag("div", *tables, class_="settings"), class_="more")
    return section("settings", "Settings", details, again(words, lines, words="Train the same again"))


def about(run: GatheredRun, with_images: bool) -> Markup:
    """What the page holds, for somebody about to pass it on."""
    holds = (
        "This page holds images of the data and says where they lie on this computer. Make one without them before you share it:"
        if with_images
        else "This page holds no image of the data and not their place on the disk; samples do look like them. It was made with:"
    )
    line = command("report", str(run.path), "--without-images", "--out", "shared.html")
    note = tag("p", holds, " ", tag("code", line))
    gaps = [tag("li", sentence) for sentence in run.gaps.values()]
    missing = tag("div", tag("h3", "What is missing here"), tag("ul", *gaps)) if gaps else None
    return section("about", "About this page", note, missing, again(command("report", str(run.path))))


KINDS = {
    "vae-gan": "A VAE whose decoder grew into a GAN's generator",
    "ae": "A plain autoencoder",
    "vae": "A variational autoencoder",
    "gan": "A GAN trained from scratch",
    "joint": "A VAE and a GAN trained together",
    "classic-gan": "A GAN trained from scratch, as its sources did",
}


def headline(run: GatheredRun, with_images: bool) -> Markup:
    """Name, one sentence, and the facts of a run."""
    record, data = run.record, run.record.facts.get("data", {})
    shape, kind = record.config.data.shape, COLOURS.get(data.get("channels", 3), "colour")
    source = record.source if with_images else "images that are not named here"
    images = f"{int(data.get('images', 0)):,} {kind} images of {shape.height} × {shape.width} pixels"
    status = {"finished": None, "interrupted": "interrupted; what follows is its state so far"}.get(
        record.status, "not finished; what follows is its state so far"
    )
    seen = [(f"{STAGE_TITLES[plan.name]} has seen", _seen(run, plan.name, plan.images)) for plan in record.plan]
    facts_of = {stage: run.facts(stage) for stage in run.stages}
    ended = [
        (f"{STAGE_TITLES[stage]} ended", f"{found['ended']}; kept {found['kept']}")
        for stage, found in facts_of.items()
        if isinstance(found.get("ended"), str) and isinstance(found.get("kept"), str)
    ]
    skipped, minutes = int(data.get("skipped", 0)), record.spent_seconds / 60
    name = Path(source).name if with_images and "/" in source and ":" not in source else source
    return tag(
        "header",
        tag("p", "vaegan report", class_="eyebrow"),
        tag("h1", run.name),
        tag("p", f"{KINDS[record.config.recipe]}, made from {images}.", class_="lead"),
        tag("p", "This run is ", status, ".", class_="gap") if status else None,
        facts(
            [
                ("Data", tag("span", name, title=source)),
                ("Left out", f"{skipped:,} files, see skipped.csv" if skipped else None),
                *seen,
                *ended,
                ("Training time", f"{minutes:.1f} min"),
                ("Latent", f"{record.config.network.latent_dim} numbers"),
                ("Seed", str(record.config.seed)),
                ("Precision", record.precision),
                ("Fingerprint of the images", tag("code", record.fingerprint[:16])),
            ]
        ),
    )


def verdict(run: GatheredRun) -> Markup:
    """What the numbers say, in words."""
    if run.evaluation is None:
        reason = run.gaps.get("evaluation", "This run has not been evaluated.")
        content: Content = gap(f"{reason} For scores, intervals and a verdict:", command("evaluate", str(run.path)))
    else:
        line = command("train", "--resume", str(run.path), "--minutes", "10")
        longer = gap("To make it better, first train it longer:", line) if run.evaluation.train_longer else None
        content = tag("div", tag("ul", *(tag("li", sentence) for sentence in run.evaluation.verdict)), longer)
    return section("verdict", "In short", content)


def progress(run: GatheredRun) -> Markup:
    """The model learning, to be played or leafed through."""
    frames = pictures.frames(run)
    if not frames:
        return section("progress", "While it learned", gap("No samples were drawn while this run trained."))
    said = [f"{STAGE_TITLES[one.stage]} after {one.seen:,} images" for one in frames]
    last = len(frames) - 1
    images = [
        tag(
            "img",
            src=one.picture.data,
            alt=f"Samples of the {words}",
            data_caption=words,
            width=one.picture.width,
            height=one.picture.height,
            hidden=index < last,
            decoding="async",
        )
        for index, (one, words) in enumerate(zip(frames, said, strict=True))
    ]
    slider = tag("input", type="range", min="0", max=last, value=last, step="1", aria_label="Moment of the training")
    play = tag("button", "Play", type="button", class_="play")
    controls = tag("div", play, slider, tag("output", said[last]), class_="controls")
    where = "progress.webp" if (run.folder.path / "progress.webp").is_file() else "samples/"
    early = " The VAE's are drawn from N(0, I): its mixture is fitted at its end." if "vae" in run.stages else ""
    note = tag(
        "p", "The same latents, drawn over and over. All moments lie in the run's folder: ", tag("code", where), f".{early}"
    )
    figure = tag("figure", tag("div", *images, class_="frames"), controls, class_="picture player")
    return section("progress", "While it learned", note, figure)


def samples(run: GatheredRun, counts: pictures.Counts) -> Markup:
    """New images of every stage: of a VAE from its mixture and, beside them, from N(0, I)."""
    parts: list[Content] = []
    seed = run.record.config.seed
    for stage in run.stages:
        title = STAGE_TITLES[stage]
        if stage not in run.models:
            parts.append(gap(f"{title}: {run.gaps.get(stage, 'no model.')}"))
            continue
        samplers = run.models[stage].samplers
        for sampler in samplers:
            source = DRAWN_FROM["mixture" if sampler == "mixture" else "normal"]
            words, file = (f", drawn from {source}", f"{stage}-{sampler}") if len(samplers) > 1 else ("", stage)
            caption = tag("span", tag("b", title, class_=f"stage {stage}"), words)
            words = f"{counts.samples} images made by the {title}{words}"
            parts.append(samples_of(run, stage, seed, words, caption, f"{file}.png", sampler))
    note = tag("p", f"Nobody picked these: they are the first {counts.samples} of seed {seed}.")
    return section("samples", "What it makes", note, tag("div", *parts, class_="side-by-side"))


def samples_of(
    run: GatheredRun, stage: str, seed: int, words: str, caption: Markup, file: str, sampler: Sampler | None = None
) -> Markup:
    """A sheet of new images of one stage, and the command that makes them again."""
    model = run.models[stage]
    counts = pictures.counts_for(model.config.shape)
    asked = ["--stage", stage, "-n", str(counts.samples), "--seed", str(seed), *(["--sampler", sampler] if sampler else [])]
    line = command("sample", str(run.path), *asked, "--out", file)
    return picture(pictures.samples(model, seed, counts, sampler), words, caption, "tiles", again(line))


def real(run: GatheredRun, counts: pictures.Counts) -> Markup:
    """What the run learned from."""
    title = "What it learned from"
    if run.dataset is None:
        return section("real", title, gap(run.no_images))
    drawn = pictures.real_images(run.dataset, counts)
    notes = [tag("li", sentence) for sentence in (*run.dataset.notes, *run.dataset.warnings)]
    words = f"{min(counts.real, len(run.dataset.indices(TRAIN))):,} of the training images"
    line = command("preview", run.record.source, "--size", str(run.record.config.data.size))
    note = "These are images of the data, cropped as the networks see them. Before you pass this page on, see its last section."
    shown = picture(drawn, words, again=again(line))
    return section("real", title, tag("p", note), shown, tag("ul", *notes) if notes else None)


def reconstructions(run: GatheredRun, counts: pictures.Counts) -> Markup:
    """Held-out images and their reconstructions."""
    title = "What it keeps of an image"
    able = [stage for stage in run.stages if stage in run.models and run.models[stage].has_encoder]
    if not able:
        return section("reconstructions", title, gap("No model of this run has an encoder, so nothing can be given back."))
    if run.dataset is None:
        return section("reconstructions", title, gap(run.no_images))
    models = [run.models[stage] for stage in able]
    drawn = pictures.reconstructions(models, run.dataset, run.record.config.condition, counts)
    none_held_out = run.dataset.heldout_side == TRAIN
    side = "of the training set: none were held out" if none_held_out else "never trained on (validation)"
    names = ", then the ".join(STAGE_TITLES[stage] for stage in able)
    rows = f"Above: images {side}. Below: what comes back of them through the {names}."
    line = command("reconstruct", str(run.path), "IMAGE...", "--stage", able[-1]).replace("'IMAGE...'", "IMAGE...")
    return section("reconstructions", title, tag("p", rows), picture(drawn, rows, again=again(line)))


def interpolations(run: GatheredRun) -> Markup:
    """Rows that lead through the latent space."""
    title, stage = "Between two images", run.last_stage
    if stage is None:
        return section("interpolations", title, gap("There is no model yet."))
    drawn = pictures.interpolations(run.models[stage], run.record.config.seed)
    words = f"{pictures.MORPHS} rows that each lead from one sample of the {STAGE_TITLES[stage]} to another"
    note = "Each row leads from one sample to another. Smooth ways without sudden jumps speak for a latent space that is used."
    return section("interpolations", title, tag("p", note), picture(drawn, words))


def copies(run: GatheredRun, counts: pictures.Counts) -> Markup | None:
    """The samples that lie nearest to a training image, beside it."""
    if run.evaluation is None or not run.evaluation.neighbours:
        return None
    title = "Is it copying?"
    if run.dataset is None:
        return section("copies", title, gap(run.no_images))
    drawn = pictures.neighbours(run, run.dataset, counts.pairs)
    if drawn is None:
        return section("copies", title, gap("The neighbours in evaluation.json do not fit this run's images."))
    mirrored = " or its mirror image" if run.dataset.flips else ""
    words = "Above: the samples that look most like copies. Below: the nearest training image of each"
    note = f"{words}{mirrored}. Two that are the same would mean that the model has learned a picture by heart."
    return section("copies", title, tag("p", note), picture(drawn, words, again=again(evaluate_command(run))))


def _seen(run: GatheredRun, stage: str, planned: int | None) -> str:
    seen = run.seen(stage)
    words = f"{seen:,} images"
    count = int(run.record.facts.get("data", {}).get("images", 0))
    passes = f" ({seen / count:.2g} passes)" if count and seen else ""
    return f"{words} of {planned:,} planned" if planned and seen < planned else words + passes
