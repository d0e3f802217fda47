"""Group normalization that fits any width."""

from torch import nn


def group_norm(channels: int, most_groups: int, least_width: int) -> nn.GroupNorm:
    """Group norm with as many groups as divide the channels and leave each wide enough.

    At the paper's widths this is `most_groups`; narrow networks get fewer.

    Parameters
    ----------
    channels
        Channels of the tensor to normalize.
    most_groups
        The paper's number of groups.
    least_width
        Smallest number of channels in a group.
    """
    fitting = [n for n in range(1, most_groups + 1) if channels % n == 0 and channels // n >= least_width]
    return nn.GroupNorm(max(fitting, default=1), channels, eps=1e-6)
