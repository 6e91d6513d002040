"""Sentences with reasons, generated: what people would write to a shop, some of it said in many ways."""

from __future__ import annotations

import csv
import random
from pathlib import Path

_WAYS = {
    "refund": (
        "i want my money back for {thing}", "when do i get the refund for {thing}", "please refund {thing}",
        "{thing} was returned and nothing was paid back", "how long does a refund take for {thing}",
    ),
    "delivery.lost": (
        "{thing} never arrived", "where is {thing}", "the courier lost {thing}", "tracking of {thing} has not moved",
        "{thing} should have been delivered days ago",
    ),
    "delivery.change": (
        "can you deliver {thing} to another address", "i need {thing} delivered on monday",
        "please change the delivery date of {thing}", "can {thing} be left with my neighbour",
        "i will not be home when {thing} is delivered",
    ),
    "address_change": (
        "i have moved and need to change my address", "please update my address to the new street",
        "my address is wrong in your records", "how do i change the address of my account",
        "new address for my account please",
    ),
    "account_access": (
        "i cannot log in to my account", "i forgot my password", "the login code does not arrive",
        "my account is locked after too many tries", "how do i reset the password of my account",
    ),
    "billing": (
        "i was charged twice for {thing}", "the invoice for {thing} is wrong", "why is there a fee on my bill",
        "please send me the invoice for {thing}", "i do not understand the bill of this month",
    ),
}  # fmt: skip
_THINGS = (
    "my parcel",
    "the shoes",
    "order 10423",
    "the blue lamp",
    "my order",
    "the printer",
    "the two books",
    "this phone",
)
_BEFORE = ("", "hello, ", "hi there ", "please help: ", "good morning. ", "excuse me, ", "urgent! ")
_AFTER = ("", " thanks", "?", " please", " as soon as possible", ", i am waiting", " !!")


def sentences(count: int, seed: int = 1) -> list[tuple[str, str]]:
    """(text, label) of so many."""
    chance = random.Random(seed)
    labels = sorted(_WAYS)
    made = []
    for number in range(count):
        label = labels[number % len(labels)]
        said = chance.choice(_WAYS[label]).format(thing=chance.choice(_THINGS))
        made.append((f"{chance.choice(_BEFORE)}{said}{chance.choice(_AFTER)}", label))
    return made


def file_of(folder: Path, made: list[tuple[str, str]], columns: tuple[str, str] = ("text", "label")) -> Path:
    """A CSV file of them."""
    path = folder / "labelled.csv"
    with path.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(columns)
        writer.writerows(made)
    return path
