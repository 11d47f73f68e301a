"""Images of another kind than the data set's, for methods that stand on no retained data."""
import torch

from unlearning.data.batches import Images


def surrogate(name, count, like, seed):
    g=torch.Generator().manual_seed(seed)
    return Images(torch.randint(0,256,(count,*like.images.shape[1:]),generator=g,dtype=torch.uint8), torch.zeros(count,dtype=torch.int64), like.mean, like.std)
