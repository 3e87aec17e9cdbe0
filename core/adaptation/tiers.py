"""The tiers of adapters and how weights move between them.

| tier | rank | learns | weights |
|------|------|--------|---------|
| fast | 1-2  | from one interaction, at once | B per user, A from the base generation |
| slow | 4-16 | in an adaptation; the fast tier is folded into it | B per user, A from the base generation |
| base | 1-64, default 16 | in the background, from everybody | A and B, shared |
"""

from __future__ import annotations

import numpy as np

from core.adaptation.lora import Lora
from core.errors import InvalidInput
from core.numeric.vectors import Floats

RANKS = {"fast": range(1, 3), "slow": range(4, 17), "base": range(1, 65)}


def require_rank(tier: str, rank: int) -> int:
    """`rank` if the tier allows it. Raises InvalidInput."""
    allowed = RANKS[tier]
    if not isinstance(rank, int) or rank not in allowed:
        raise InvalidInput(f"the {tier} tier has rank {allowed[0]} to {allowed[-1]}, got {rank!r}")
    return rank


def fold(fast: Lora, slow: Lora) -> tuple[Lora, float]:
    """Add the fast tier to the slow one, whose A stays as it is (users share it).

    B' = B + (s_f / s_s) B_f (A_f A_s^+) is the least-squares best B for s_s B' A_s = s_s B A_s + s_f B_f A_f. Also
    returns the share of the fast tier (Frobenius norm, 0 to 1) that lies outside A_s and is lost.
    """
    T = transfer(fast.A, slow.A)
    B = slow.B + np.float32(fast.scale / slow.scale) * (fast.B @ T)
    return Lora(slow.A, B.astype(np.float32), slow.alpha), lost_share(fast.A, fast.B, slow.A, fast.B @ T)


def truncate(loras: tuple[Lora, ...], rank: int, alpha: float) -> Lora:
    """The best rank-`rank` adapter for the sum of several (Eckart-Young), by an SVD of a small core: with Q R = B and
    P S = A^T, the singular values of B A are those of R S^T."""
    A = np.concatenate([lora.A for lora in loras]).astype(np.float64)
    B = np.concatenate([lora.B.astype(np.float64) * lora.scale for lora in loras], axis=1)
    Q, R = np.linalg.qr(B)
    P, S = np.linalg.qr(A.T)
    U, sigma, Vt = np.linalg.svd(R @ S.T)
    kept = min(rank, len(sigma))
    up = Q @ (U[:, :kept] * sigma[:kept]) * (rank / alpha)
    down = Vt[:kept] @ P.T
    missing = rank - kept  # fewer directions than asked for: the rest is zero
    down = np.concatenate([down, np.zeros((missing, down.shape[1]))])
    up = np.concatenate([up, np.zeros((up.shape[0], missing))], axis=1)
    return Lora(np.ascontiguousarray(down, np.float32), np.ascontiguousarray(up, np.float32), alpha)


def transfer(A_old: Floats, A_new: Floats) -> Floats:
    """T = A_old A_new^+ (r_old, r_new): B' = B T makes B' A_new the least-squares nearest to B A_old."""
    return (A_old.astype(np.float64) @ np.linalg.pinv(A_new.astype(np.float64))).astype(np.float32)


def project(B: Floats, T: Floats) -> Floats:
    """A user's B (d, r_old) for the generation whose transfer is T (r_old, r_new)."""
    if B.shape[1] != T.shape[0]:
        raise InvalidInput(f"a transfer for rank {T.shape[0]} cannot project an adapter of rank {B.shape[1]}")
    return B @ T


def lost_share(A_old: Floats, B_old: Floats, A_new: Floats, B_new: Floats) -> float:
    """|B_old A_old - B_new A_new| / |B_old A_old| in the Frobenius norm; 0 for an adapter that is still zero."""
    whole = product_norm(A_old, B_old)
    left = product_norm(np.concatenate([A_old, A_new]), np.concatenate([B_old, -B_new], axis=1))
    return left / whole if whole > 0 else 0.0


def product_norm(A: Floats, B: Floats) -> float:
    """|B A| (Frobenius) without forming the d x d product: trace(B^T B A A^T)."""
    gram = (B.T.astype(np.float64) @ B) * (A.astype(np.float64) @ A.T)
    return float(np.sqrt(max(gram.sum(), 0.0)))
