"""Folders of images: what they become, and one message for whatever is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasearch.config.study_file import parse_study
from tasearch.data import folder, load_data, load_test, parquet
from tasearch.errors import DataError, StudyError
from tests.helpers import folders
from tests.helpers import parquet as tables
from tests.helpers.arrays import encoded

LAYOUT = "images should be in PATH/CLASS or PATH/train/CLASS"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder of two classes with twenty images each."""
    classes = {name: tables.pictures(20, 6, 5) for name in ("dog", "cat")}
    folders.write(tmp_path / "pets", classes)
    return tmp_path / "pets"


def said(path: Path, **data: Any) -> str:
    with pytest.raises(DataError) as error:
        load_data(folders.study(path, **data))
    return str(error.value)


def arrays(path: Path, **data: Any) -> Mapping[str, np.ndarray]:
    return folder.load(folders.study(path, **data).data, str(path.parent))


def test_images_in_folders_and_in_parquet_give_equal_arrays(tmp_path: Path) -> None:
    """Of several modes and sizes, with orientation and transparency, in three parts."""
    rng = np.random.default_rng(0)
    turned = Image.Exif()
    turned[0x0112] = 6
    parts = ("train", "val", "test")
    for part in parts:
        blobs, labels = [], []
        for label in ("a", "b c", "\u00e9"):
            (tmp_path / "tree" / part / label).mkdir(parents=True)
            for i in range(8):
                shape = (rng.integers(9, 30), rng.integers(9, 30), (3, 4)[i % 2])
                image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
                image = image.convert("LA") if i == 5 else image
                options = {"exif": turned} if i % 3 else {}
                kind = ("PNG", "WEBP", "TIFF")[i % 3]
                blob = encoded(image, kind, **options)
                (tmp_path / "tree" / part / label / f"{i}.{kind.lower()}").write_bytes(blob)
                blobs.append({"bytes": blob, "path": None})
                labels.append(label)
        tables.write(tmp_path / "table" / f"{part}.parquet", blobs, labels)
    for keys in ({"size": 8}, {"size": [10, 6]}, {"size": [6, 10], "channels": "grey"}):
        mine = arrays(tmp_path / "tree", **keys)
        theirs = parquet.load(tables.study(tmp_path / "table", **keys).data, str(tmp_path))
        assert mine.keys() == theirs.keys() == {f"{axis}_{part}" for axis in "xy" for part in parts}
        for name in mine:
            assert mine[name].dtype == theirs[name].dtype
            assert np.array_equal(mine[name], theirs[name]), name
        data, other = (
            load_data(folders.study(tmp_path / "tree", **keys)),
            load_data(tables.study(tmp_path / "table", **keys)),
        )
        assert data.fingerprint == other.fingerprint
        assert data.class_names == ("a", "b c", "\u00e9")


def test_source_reads_parts_in_sorted_order(tmp_path: Path) -> None:
    images = {name: tables.pictures(4, 6, 5, 3) for name in ("10", "2", "B", "a")}
    for part in ("train", "validation", "test"):
        folders.write(tmp_path / "d" / part, images)
    data = load_data(folders.study(tmp_path / "d"))
    assert data.class_names == ("10", "2", "B", "a")
    expected = np.concatenate([images[name] for name in data.class_names]).transpose(0, 3, 1, 2)
    for part in (data.train, data.validation, load_test(folders.study(tmp_path / "d"))):
        assert np.array_equal(part.x, expected)
        assert part.y.tolist() == np.repeat(range(4), 4).tolist()


def test_source_splits_one_folder_of_classes(pets: Path) -> None:
    data = load_data(folders.study(pets))
    assert (len(data.train), len(data.validation)) == (24, 8)
    assert data.in_shape == (1, 6, 5)
    assert data.class_names == ("cat", "dog")


def test_source_takes_class_called_train_for_class(tmp_path: Path) -> None:
    folders.write(tmp_path / "d", {n: tables.pictures(8, 6, 5) for n in ("train", "tram")})
    assert load_data(folders.study(tmp_path / "d")).class_names == ("train", "tram")


def test_source_ignores_what_systems_leave(pets: Path) -> None:
    before = load_data(folders.study(pets)).fingerprint
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.png"):
        (pets / "cat" / name).write_bytes(b"x")
        (pets / name).write_bytes(b"x")
    (pets / ".cache" / "x").mkdir(parents=True)
    (pets / "__MACOSX").mkdir()
    (pets / "README.md").write_text("about")
    assert load_data(folders.study(pets)).fingerprint == before


@pytest.mark.parametrize("kind", ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "PNG"])
def test_source_reads_every_format(tmp_path: Path, kind: str) -> None:
    flat = {n: np.full((8, 16, 16, 3), v, dtype=np.uint8) for n, v in (("a", 40), ("b", 200))}
    folders.write(tmp_path / "d", flat, kind)
    found = arrays(tmp_path / "d")
    assert (
        np.abs(found["x_train"].astype(int) - np.repeat([40, 200], 8)[:, None, None, None]).max()
        < 3
    )


def test_source_follows_links_to_files(pets: Path, tmp_path: Path) -> None:
    before = load_data(folders.study(pets)).fingerprint
    (pets / "cat" / "007.png").rename(tmp_path / "elsewhere.png")
    (pets / "cat" / "007.png").symlink_to(tmp_path / "elsewhere.png")
    assert load_data(folders.study(pets)).fingerprint == before


def test_files_and_classes_may_have_odd_names(tmp_path: Path) -> None:
    names = ("a b", "d\u00f6g", "x;<i>", "-n", "\u7334")
    folders.write(tmp_path / "d", {name: tables.pictures(6, 6, 5) for name in names})
    odd = (b"\xff.png", b"a\nb.png", b" .png", b"$(x).png", b"'.png")
    for name, file in zip(names, map(os.fsdecode, odd), strict=True):
        (tmp_path / "d" / name / "000.png").rename(tmp_path / "d" / name / file)
    assert load_data(folders.study(tmp_path / "d")).class_names == tuple(sorted(names))
    (tmp_path / "d" / "-n" / "\x1b[1m.png").write_bytes(b"no image")
    assert said(tmp_path / "d").startswith(f"{tmp_path / 'd'}/-n/\\x1b[1m.png: is no image")


def test_source_decodes_images_once(pets: Path, cache: Path) -> None:
    seen: list[tuple[int, int]] = []
    first = load_data(folders.study(pets), lambda *at: seen.append(at))
    assert seen[-1] == (40, 40)
    seen.clear()
    pets.rename(pets.with_name("moved"))
    again = load_data(folders.study(pets.with_name("moved")), lambda *at: seen.append(at))
    assert not seen
    assert again.fingerprint == first.fingerprint
    load_data(folders.study(pets.with_name("moved"), size=4))
    assert len(list(cache.iterdir())) == 2


def test_size_covers_and_crops_about_the_centre(tmp_path: Path) -> None:
    """Stripes of 8 pixels: of a wide image the outer ones are cut off, a tall one likewise."""
    stripes = np.repeat(np.arange(6, dtype=np.uint8) * 40, 8)
    wide = np.tile(stripes, (16, 1))  # 16 x 48
    folders.write(tmp_path / "d", {"a": wide[None].repeat(6, 0), "b": wide.T[None].repeat(6, 0)})
    x = arrays(tmp_path / "d", size=16)["x_train"]
    assert x.shape == (12, 1, 16, 16)
    for pixels in (x[0, 0], x[6, 0].T):
        assert np.array_equal(pixels, np.tile(np.repeat([80, 120], 8), (16, 1)))
    half = arrays(tmp_path / "d", size=[8, 8])["x_train"]
    assert np.abs(half[0, 0, :, [1, 6]].astype(int) - [[80], [120]]).max() <= 4


def test_size_leaves_images_of_that_size_alone(pets: Path) -> None:
    assert np.array_equal(arrays(pets, size=[6, 5])["x_train"], arrays(pets)["x_train"])


def test_channels_makes_all_images_of_one_kind(tmp_path: Path) -> None:
    grey, colour = tables.pictures(6, 6, 5), tables.pictures(6, 6, 5, 3)
    folders.write(tmp_path / "d" / "train", {"a": grey, "b": grey + 1})
    folders.write(tmp_path / "d" / "test", {"a": grey, "b": colour})
    words = "b/000.png: is a colour image (RGB), but all images of the training part are grey; "
    assert words in said(tmp_path / "d")
    three = arrays(tmp_path / "d", channels="rgb")
    assert np.array_equal(three["x_train"][:6], np.repeat(grey[:, None], 3, axis=1))
    assert np.array_equal(three["x_test"][6:], colour.transpose(0, 3, 1, 2))
    one = arrays(tmp_path / "d", channels="grey")
    assert np.array_equal(one["x_train"][:6, 0], grey)
    luma = colour @ [0.299, 0.587, 0.114]
    assert np.abs(one["x_test"][6:, 0] - luma).max() <= 1


def broken(pets: Path) -> None:
    (pets / "cat" / "003.png").write_bytes(b"no image")
    (pets / "dog" / "000.png").write_bytes(b"")
    (pets / "dog" / "004.png").write_bytes((pets / "dog" / "004.png").read_bytes()[:40])
    (pets / "dog" / "005.png").write_bytes(b"x")


def test_unreadable_images_are_named_and_counted(pets: Path, cache: Path) -> None:
    (pets / "cat" / "000.png").write_bytes(b"no image")
    advice = 'data.unreadable = "skip" leaves such images out'
    assert said(pets) == f"{pets}/cat/000.png: is no image that Pillow knows; {advice}"
    broken(pets)
    found = said(pets)
    assert found.startswith(
        f"5 of 40 images cannot be decoded: {pets}/cat/000.png: is no image that Pillow knows; "
        f"{pets}/cat/003.png: is no image that Pillow knows; "
        f"{pets}/dog/000.png: has no bytes of an image; ...; {advice}"
    )
    assert not list(cache.glob("*/*"))


def test_unreadable_images_are_left_out_with_notice(pets: Path) -> None:
    whole = arrays(pets)
    broken(pets)
    for _ in range(2):  # decoded, and from the cache
        notices: list[str] = []
        section = folders.study(pets, unreadable="skip").data
        some = folder.load(section, str(pets.parent), warn=notices.append)
        gone = [3, 20, 24, 25]
        assert np.array_equal(some["x_train"], np.delete(whole["x_train"], gone, axis=0))
        assert some["y_train"].tolist() == np.delete(whole["y_train"], gone).tolist()
        (notice,) = notices
        assert notice.startswith(
            f"4 of 40 images cannot be decoded, and are left out: {pets}/cat/003.png: is no image"
        )
        assert notice.endswith("; ...")
    assert "4 of 40 images cannot be decoded: " in said(pets)  # strict again, with the same entry


def test_unreadable_images_may_not_be_all_of_a_class(pets: Path) -> None:
    for file in (pets / "cat" / "000.png", *(pets / "dog").iterdir()):
        file.write_bytes(b"no image")
    for unreadable in ("error", "skip"):
        assert said(pets, unreadable=unreadable) == (
            f"{pets}/dog/000.png: is no image that Pillow knows; no image of class 'dog' in the "
            f"train part can be decoded"
        )


def test_colour_image_widens_what_is_left_of_grey_ones(pets: Path) -> None:
    grey = arrays(pets)["x_train"]
    broken(pets)
    last = tables.pictures(1, 6, 5, 3)
    Image.fromarray(last[0]).save(pets / "dog" / "019.png")
    found = arrays(pets, unreadable="skip")["x_train"]
    expected = np.repeat(np.delete(grey, [3, 20, 24, 25], axis=0), 3, axis=1)
    assert np.array_equal(found[:-1], expected[:-1])
    assert np.array_equal(found[-1], last[0].transpose(2, 0, 1))


def test_source_tells_of_equal_files_in_two_parts(tmp_path: Path) -> None:
    images = tables.pictures(12, 6, 5)
    for part, taken in (("train", images[:6]), ("val", images[5:7]), ("test", images[6:])):
        folders.write(tmp_path / "d" / part, {"a": taken, "b": taken + 1})
    notices: list[str] = []
    load_data(folders.study(tmp_path / "d"), warn=notices.append)
    d = tmp_path / "d"
    assert notices == [
        f"4 images have the same bytes as one of another part: "
        f"{d}/val/a/000.png as {d}/train/a/005.png; {d}/val/a/001.png as {d}/test/a/000.png; "
        f"{d}/val/b/000.png as {d}/train/b/005.png; ..."
    ]


def test_source_tells_of_equal_files_that_a_split_may_part(pets: Path) -> None:
    notices: list[str] = []
    load_data(folders.study(pets), warn=notices.append)
    assert notices == []
    (pets / "dog" / "x.png").write_bytes((pets / "cat" / "001.png").read_bytes())
    load_data(folders.study(pets), warn=notices.append)
    assert notices == [
        f"1 image has the same bytes as one which the split may put into another part: "
        f"{pets}/dog/x.png as {pets}/cat/001.png"
    ]


def only(pets: Path, *keep: str) -> None:
    for name in ("cat", "dog"):
        if name not in keep:
            for file in (pets / name).iterdir():
                file.unlink()
            (pets / name).rmdir()


def parted(pets: Path) -> Path:
    """The same folder with parts."""
    (pets / "train").mkdir()
    for name in ("cat", "dog"):
        (pets / name).rename(pets / "train" / name)
    return pets


def with_val(pets: Path, name: str, *classes: str) -> None:
    folders.write(parted(pets) / name, {c: tables.pictures(3, 6, 5) for c in classes})


TREES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "an empty class": (
        lambda p: (p / "emu").mkdir(),
        "/emu: has no images; remove the folder, or fill it",
    ),
    "no images at all": (
        lambda p: only(p),
        f": should have folders of two classes or more, has none; {LAYOUT}",
    ),
    "one class": (
        lambda p: only(p, "cat"),
        f": should have folders of two classes or more, has only 'cat'; {LAYOUT}",
    ),
    "one class with parts": (
        lambda p: (only(p, "cat"), (p / "train").mkdir(), (p / "cat").rename(p / "train" / "cat")),
        f"/train: should have folders of two classes or more, has only 'cat'; {LAYOUT}",
    ),
    "images without classes": (
        lambda p: (p / "cat" / "000.png").rename(p / "x.png"),
        f": has images outside of classes, 'x.png'; {LAYOUT}",
    ),
    "no class in a part": (
        lambda p: (parted(p) / "test").mkdir(),
        f"/test: should have the folder of a class, has none; {LAYOUT}",
    ),
    "a nested folder": (
        lambda p: (p / "cat" / "more").mkdir(),
        f"/cat/more: is a folder inside of a class; {LAYOUT}",
    ),
    "a part of unknown name": (
        lambda p: (parted(p) / "extra").mkdir(),
        ": beside 'train' there may be 'val' and 'test', has 'extra'",
    ),
    "a part in capitals": (
        lambda p: with_val(p, "Validation", "cat"),
        ": beside 'train' there may be 'val' and 'test', has 'Validation'; call it 'validation', "
        "in small letters",
    ),
    "training in capitals": (
        lambda p: (parted(p) / "train").rename(p / "Train"),
        ": 'Train' is no name of a part, but holds folders; call it 'train', in small letters",
    ),
    "training by another name": (
        lambda p: [with_val(p, "val", "cat"), (p / "train").rename(p / "training")],
        ": 'training' is no name of a part, but holds folders; call it 'train'",
    ),
    "a part twice": (
        lambda p: [with_val(p, "val", "cat"), (p / "valid").mkdir()],
        ": 'val' and 'valid' are the same part; keep one",
    ),
    "a class missing in train": (
        lambda p: with_val(p, "validation", "cat", "emu"),
        "/validation/emu: class 'emu' has no folder in the training part",
    ),
    "another file": (
        lambda p: (p / "cat" / "labels.csv").write_text("x"),
        "/cat: should hold images alone (.bmp, .gif, .jpeg, .jpg, .png, .tif, .tiff, .webp), "
        "found 'labels.csv'",
    ),
    "other files": (
        lambda p: [(p / "cat" / f"{i}.heic").write_text("x") for i in range(5)],
        "/cat: should hold images alone (.bmp, .gif, .jpeg, .jpg, .png, .tif, .tiff, .webp), "
        "found 5 files such as '0.heic', '1.heic', '2.heic'",
    ),
    "a link to a folder": (
        lambda p: (p / "emu").symlink_to(p / "cat"),
        "/emu: is a link to a folder, which is not followed; links to files are",
    ),
    "a link to nothing": (
        lambda p: (p / "cat" / "x.png").symlink_to(p / "gone"),
        "/cat/x.png: cannot be read: No such file or directory",
    ),
    "a FIFO": (
        lambda p: os.mkfifo(p / "cat" / "x.png"),
        "/cat/x.png: is neither a file nor a link to one",
    ),
    "a class that is no UTF-8": (
        lambda p: (p / os.fsdecode(b"\xff")).mkdir(),
        "/\\udcff: the name of a class should be UTF-8 text",
    ),
    "a class with one file": (
        lambda p: folders.write(p, {"emu": tables.pictures(1, 6, 5)}),
        "pets: data.test: 8 of 41 samples cannot be drawn with every class among them and among "
        "the rest; class 'emu' has only 1; bring more samples, or parts of your own",
    ),
    "several sizes": (
        lambda p: folders.write(p, {"emu": tables.pictures(9, 4, 7)}),
        "/emu/000.png: is 4x7 pixels (height x width), PETS/cat/000.png is 6x5; heights are 4 to "
        "6, widths 5 to 7; data.size gives all one size",
    ),
}


@pytest.mark.parametrize("case", TREES)
def test_source_refuses_what_is_no_folder_of_images(pets: Path, case: str) -> None:
    change, words = TREES[case]
    change(pets)
    start = "" if words.startswith("pets") else str(pets)
    assert said(pets) == start + words.replace("PETS", str(pets))


def test_source_refuses_paths_that_are_no_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for name, words in (
        ("nowhere", "no such data folder (data.path = 'nowhere')"),
        ("file", "cannot be read: Not a directory"),
        ("n" * 300, f"cannot be read: File name too long (data.path = '{'n' * 300}')"),
    ):
        assert said(tmp_path / name) == f"{tmp_path / name}: {words}"


def test_source_refuses_file_changed_while_reading(pets: Path) -> None:
    """The key of the cache is the digest of what was there before."""
    files = tuple(sorted((pets / "cat").iterdir()))
    images = folder.ImageFiles(files=files, labels=np.array(["cat"] * 20), digests=(b"",) * 20)
    with pytest.raises(DataError) as error:
        list(images.batches())
    assert str(error.value) == f"{files[0]}: changed while it was read; start again"


def test_batches_are_limited_in_files_and_bytes(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = arrays(pets)["x_train"]
    for name, most in (("ROWS", 7), ("BYTES", 300)):
        monkeypatch.setattr(folder, name, most)
        sizes = [len(batch) for _, batch, _ in _images(pets).batches()]
        assert sum(sizes) == 40
        assert max(sizes) <= 7
        monkeypatch.setenv("TASEARCH_CACHE", str(pets.parent / name))
        assert np.array_equal(arrays(pets)["x_train"], whole)


def _images(pets: Path) -> folder.ImageFiles:
    files = tuple(sorted(pets.glob("*/*.png")))
    digests = tuple(map(folder._digest, files))
    return folder.ImageFiles(files=files, labels=np.arange(40).astype(str), digests=digests)


def pictures(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, 6, 5), dtype=np.uint8)


def test_folder_of_images_without_labels_is_read_beside_classes(tmp_path: Path) -> None:
    pets, more = tmp_path / "pets", pictures(2, 7)
    folders.write(pets, {"dog": pictures(0, 20), "cat": pictures(1, 20)})
    plain = load_data(folders.study(pets))
    folders.write(tmp_path, {"more": more})
    study = folders.study(pets, unlabelled="more")
    data = load_data(study)
    assert data.unlabelled is not None
    assert np.array_equal(data.unlabelled, more[:, None])
    assert data.fingerprint == plain.fingerprint
    assert len(load_test(study)) == 8
    folders.write(tmp_path, {"more": pictures(0, 20)})  # with the dogs that are held out
    assert "x_unlabelled: 8 of 20 samples are exact copies of held-out ones (val and test)" in said(
        pets, unlabelled="more"
    )


def test_folder_without_labels_has_its_rules(pets: Path, tmp_path: Path) -> None:
    assert said(pets, unlabelled="none") == (
        f"{tmp_path}/none: no such data folder (data.unlabelled = 'none')"
    )
    assert said(pets, unlabelled="pets") == (
        f"{pets}: should hold images alone, as they have no classes, has the folder 'cat' "
        f"(data.unlabelled = 'pets')"
    )
    (tmp_path / "empty").mkdir()
    assert said(pets, unlabelled="empty").startswith(f"{tmp_path}/empty: has no images")
    with pytest.raises(
        StudyError, match=r'data\.unlabelled: goes with source = "parquet", "imagefolder" or "csv"'
    ):
        parse_study({"data": {"unlabelled": "more"}})
