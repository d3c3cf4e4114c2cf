# %% [markdown]
# # Features for scikit-learn
#
# Robust features are arrays like any others: compute them once, and use whatever takes arrays.

# %%
import matplotlib.pyplot as plt
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from solo_adv import load_pretrained
from solo_adv.data import DataConfig, load_split
from solo_adv.evaluation import extract

# %%
encoder = load_pretrained("cfamc_resnet10w16_digits_m3")
digits = DataConfig(dataset="digits", image_size=16)
(train, train_labels), (test, test_labels) = (
    [
        part.numpy()
        for part in extract(encoder, load_split(digits, split), batch_size=256, device="cpu")
    ]
    for split in ("train", "test")
)
print(train.shape, test.shape)

# %% [markdown]
# A photograph takes the same way: `encoder(encoder.preprocess(pil_image)[None])`.
#
# Few labels are enough for a useful classifier, because the encoder has seen all train images without labels.

# %%
for count in (100, len(train)):
    for model in (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)),
        KNeighborsClassifier(5, metric="cosine"),
    ):
        model.fit(train[:count], train_labels[:count])
        score = model.score(test, test_labels)
        print(f"{type(model).__name__:22} {count:5} labels: {score:.1%}")

# %%
print(confusion_matrix(test_labels, model.predict(test)))

# %% [markdown]
# The two main directions of the features separate some classes, which no label has told the encoder;
# `main_umap.py` makes better maps.

# %%
places = PCA(2).fit_transform(test)
figure, axis = plt.subplots(figsize=(6, 5))
shown = axis.scatter(*places.T, c=test_labels, cmap="tab10", s=12)
figure.colorbar(shown, ticks=range(10))
axis.axis("off")
plt.show()
