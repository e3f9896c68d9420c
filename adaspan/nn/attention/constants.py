"""Numbers in place of infinities, which every implementation must share."""

# Keeps log(mask) finite where the mask is 0; such a key's weight is 1e-30 of what it would be.
TINY = 1e-30
# A score in place of -inf, which would make a query without any key NaN.
INVISIBLE = -1e30
