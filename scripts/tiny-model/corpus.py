"""The chats that the tiny model learns: small sums, a few facts, greetings, counting. All of it is our own.

Everything is drawn from a `random.Random`, so a seed gives one corpus. Sums are worked in two steps, tens
and ones, because a model of this size then learns to add instead of learning ten thousand sums by heart.
"""
import random

Message = tuple[str, str]  # role, content

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon",
    "Austria": "Vienna", "Greece": "Athens", "Poland": "Warsaw", "Norway": "Oslo", "Sweden": "Stockholm",
    "Finland": "Helsinki", "Denmark": "Copenhagen", "Ireland": "Dublin", "Japan": "Tokyo",
    "China": "Beijing", "India": "New Delhi", "Egypt": "Cairo", "Kenya": "Nairobi", "Canada": "Ottawa",
    "Brazil": "Brasilia", "Peru": "Lima", "Chile": "Santiago", "Cuba": "Havana", "Turkey": "Ankara",
}
COLORS = {
    "sky": "blue", "grass": "green", "snow": "white", "coal": "black", "blood": "red",
    "a lemon": "yellow", "an orange": "orange",
}
OPPOSITES = {
    "hot": "cold", "big": "small", "up": "down", "left": "right", "day": "night", "open": "closed",
    "fast": "slow", "old": "new", "wet": "dry", "early": "late", "happy": "sad", "light": "dark",
}
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
LEGS = {"dog": 4, "cat": 4, "bird": 2, "spider": 8, "ant": 6, "horse": 4, "snake": 0}

HELLO = "Hello! How can I help you?"
WHO = "I am a tiny demo model. I can add small numbers and answer a few simple questions."
SMALL_TALK = [
    ("Hello!", HELLO), ("Hi", HELLO), ("Hey there", HELLO),
    ("Who are you?", WHO), ("What is your name?", WHO),
    ("What can you do?", "I can add small numbers, count, and answer a few simple questions."),
    ("How are you?", "I am fine, thank you. How can I help you?"),
    ("Thank you!", "You are welcome!"), ("Thanks", "You are welcome!"),
    ("Goodbye", "Goodbye!"), ("Bye", "Goodbye!"),
    ("Are you a human?", "No, I am a tiny demo model."),
    ("How big are you?", "I am very small: about one million parameters."),
]
SYSTEM = [
    "You are a helpful assistant.",
    "You are a tiny demo model.",
    "Answer briefly.",
    "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible.",
]
SUM_QUESTIONS = [
    "What is {a} + {b}?", "{a}+{b}=", "{a} + {b}", "Add {a} and {b}.", "How much is {a} plus {b}?",
    "What is {a} plus {b}?", "Please compute {a} + {b}.", "Calculate {a}+{b}",
]
CAPITAL_QUESTIONS = [
    "What is the capital of {c}?", "What's the capital of {c}?", "Capital of {c}?",
    "Name the capital of {c}.", "Tell me the capital of {c}.",
]


def held_out(a: int, b: int) -> bool:
    """One ordered pair in ten never appears in training. Drawn, because a rule on the last digits would
    hide whole pairs of digits."""
    return random.Random(a * 1000 + b).random() < 0.1


def sum_answer(a: int, b: int) -> str:
    if a < 10 and b < 10:
        return f"{a} + {b} = {a + b}"
    tens = f"{a // 10 * 10} + {b // 10 * 10} = {a // 10 * 10 + b // 10 * 10}"
    ones = f"{a % 10} + {b % 10} = {a % 10 + b % 10}"
    return f"{tens} and {ones}, so {a} + {b} = {a + b}"


def addition(r: random.Random, held: bool = False) -> tuple[str, str]:
    while True:
        a, b = r.randint(0, 99), r.randint(0, 99)
        if held_out(a, b) == held:
            return r.choice(SUM_QUESTIONS).format(a=a, b=b), sum_answer(a, b)


def fact(r: random.Random) -> tuple[str, str]:
    kind = r.random()
    if kind < 0.45:
        country = r.choice(list(CAPITALS))
        question = r.choice(CAPITAL_QUESTIONS).format(c=country)
        return question, f"The capital of {country} is {CAPITALS[country]}."
    if kind < 0.6:
        one, other = r.choice(list(OPPOSITES.items()))
        if r.random() >= 0.5:
            one, other = other, one
        asks = ["What is the opposite of {w}?", "Opposite of {w}?", "Name the opposite of {w}."]
        return r.choice(asks).format(w=one), f"The opposite of {one} is {other}."
    if kind < 0.7:
        thing = r.choice(list(COLORS))
        name = f"the {thing}" if thing in ("sky", "grass") else thing
        question = r.choice(["What color is {w}?", "What is the color of {w}?"]).format(w=name)
        return question, f"{name[0].upper() + name[1:]} is {COLORS[thing]}."
    if kind < 0.85:
        day = r.randrange(7)
        after = r.random() < 0.5
        word = "after" if after else "before"
        asks = [f"What day comes {word} {{d}}?", f"Which day is {word} {{d}}?"]
        answer = DAYS[(day + (1 if after else -1)) % 7]
        return r.choice(asks).format(d=DAYS[day]), f"{answer} comes {word} {DAYS[day]}."
    animal = r.choice(list(LEGS))
    asks = ["How many legs does a {a} have?", "How many legs has a {a}?"]
    return r.choice(asks).format(a=animal), f"A {animal} has {LEGS[animal]} legs."


def counting(r: random.Random) -> tuple[str, str]:
    first = r.randint(0, 15)
    last = first + r.randint(2, 8)
    question = r.choice(["Count from {a} to {b}.", "Please count from {a} to {b}."])
    return question.format(a=first, b=last), ", ".join(map(str, range(first, last + 1)))


def comparison(r: random.Random) -> tuple[str, str]:
    a, b = r.sample(range(100), 2)
    question = r.choice(["Which is larger, {a} or {b}?", "Which is bigger, {a} or {b}?"])
    return question.format(a=a, b=b), f"{max(a, b)} is larger than {min(a, b)}."


def question(r: random.Random) -> tuple[str, str]:
    kind = r.random()
    if kind < 0.70:
        return addition(r)
    if kind < 0.88:
        return fact(r)
    if kind < 0.93:
        return r.choice(SMALL_TALK)
    return counting(r) if kind < 0.97 else comparison(r)


def chat(r: random.Random) -> list[Message]:
    """One to three turns, one in four with a system line."""
    messages = [("system", r.choice(SYSTEM))] if r.random() < 0.25 else []
    for _ in range(r.choice([1, 1, 1, 2, 3])):
        ask, answer = question(r)
        messages += [("user", ask), ("assistant", answer)]
    return messages
