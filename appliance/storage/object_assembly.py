"""One object of many pieces that lie in the store already."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from appliance.storage.object_incoming import ObjectIncoming, Parts, Sending
from appliance.storage.object_reading import read_object
from appliance.storage.spool import Spool


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """An object that holds a part of another one to be."""

    key: str
    length: int
    """In bytes."""


async def assemble(sending: Sending, pieces: Sequence[Piece], key: str) -> None:
    """Raises ObjectMissing where one of them is gone."""
    size_bytes = sum(piece.length for piece in pieces)
    if sending.bucket.composes and size_bytes:
        keys = [piece.key for piece in pieces]
        await sending.bucket.compose(keys, key, size_bytes=size_bytes)
        return
    if sending.bucket.copies_parts and size_bytes > sending.part_bytes:
        await _copy(sending, pieces, key)
        return
    async with ObjectIncoming(sending, key) as incoming:
        for piece in pieces:
            async with aclosing(_bytes(sending, piece, 0, piece.length)) as found:
                async for data in found:
                    await incoming.write(data)
        await incoming.commit()


async def _copy(sending: Sending, pieces: Sequence[Piece], key: str) -> None:
    """Large pieces are copied within the store. What is too small for a part goes through here,
    with as much of the next one as makes a part of it."""
    least = sending.bucket.least_part_bytes
    async with Parts(sending, await sending.bucket.begin(key)) as parts:
        spool = sending.new_spool()
        try:
            for piece in pieces:
                at = 0
                if spool.size_bytes:
                    at = min(least - spool.size_bytes, piece.length)
                    await _fill(spool, sending, piece, 0, at)
                    if spool.size_bytes == least:
                        await parts.send(spool)
                        spool = sending.new_spool()
                if piece.length - at >= least:
                    await parts.copy(piece.key, at, piece.length)
                elif piece.length > at:
                    await _fill(spool, sending, piece, at, piece.length)
            if spool.size_bytes:
                await parts.send(spool)
            await parts.complete()
        finally:
            spool.discard()


async def _fill(spool: Spool, sending: Sending, piece: Piece, start: int, end: int) -> None:
    async with aclosing(_bytes(sending, piece, start, end)) as found:
        async for data in found:
            await spool.write(data)


def _bytes(sending: Sending, piece: Piece, start: int, end: int) -> AsyncGenerator[bytes, None]:
    return read_object(sending.bucket, piece.key, start=start, length=end - start)
