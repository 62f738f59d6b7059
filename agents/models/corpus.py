"""The text the tiny tokenizer is trained on: what the worlds say, written here so that no download is needed.

Words carry weights: a merge is worth a vocabulary entry only if it shortens what an agent really reads and writes,
so the action language of the worlds counts more than general English.
"""

from __future__ import annotations

from collections import Counter

MOVES = ("up", "down", "left", "right", "still", "noop")
HOUSEHOLD_VERBS = ("go to", "open", "close", "take", "move", "use", "heat", "cool", "clean", "slice", "examine", "look")
RECEPTACLES = (
    "cabinet", "drawer", "shelf", "countertop", "fridge", "microwave", "sinkbasin", "stoveburner", "garbagecan",
    "coffeemachine", "toaster", "desk", "bed", "sidetable", "coffeetable", "diningtable", "armchair", "sofa", "safe",
    "dresser", "toilet", "bathtubbasin", "handtowelholder", "towelholder", "toiletpaperhanger", "laundryhamper",
    "ottoman", "tvstand", "cart",
)  # fmt: skip
OBJECTS = (
    "apple", "bread", "tomato", "potato", "lettuce", "egg", "mug", "cup", "plate", "bowl", "pan", "pot", "knife",
    "butterknife", "fork", "spoon", "spatula", "ladle", "soapbar", "soapbottle", "cloth", "handtowel", "towel",
    "toiletpaper", "candle", "book", "pen", "pencil", "laptop", "cellphone", "creditcard", "keychain", "watch", "vase",
    "statue", "box", "newspaper", "remotecontrol", "pillow", "alarmclock", "cd", "desklamp", "floorlamp", "winebottle",
    "saltshaker", "peppershaker", "dishsponge", "kettle", "glassbottle", "spraybottle", "tissuebox", "wateringcan",
)  # fmt: skip
SHOP_WORDS = (
    "search", "click", "back to search", "next >", "< prev", "buy now", "description", "features", "reviews", "price",
    "color", "size", "small", "medium", "large", "x-large", "black", "white", "blue", "red", "green", "grey", "pink",
    "cotton", "polyester", "machine wash", "women", "men", "shoes", "shirt", "dress", "jacket", "lower than dollars",
    "instruction", "page", "total results", "rating", "options", "item", "brand", "cart", "checkout", "order",
)  # fmt: skip
TOOL_WORDS = (
    "name", "arguments", "id", "result", "error", "code", "message", "status", "ok", "query", "limit", "offset", "user",
    "email", "title", "body", "path", "content", "date", "start", "end", "list", "get", "create", "update", "delete",
    "add", "remove", "send", "read", "write", "find", "quantity", "stock", "items", "amount", "account", "type",
    "true", "false", "null", "string", "integer", "number", "object", "array", "description", "required",
)  # fmt: skip
SENTENCES = (
    "You act in Sokoban. # is a wall, _ floor, O a target, X a box, √ a box on a target, P the player, "
    "S the player on a target. Boxes are pushed, never pulled; a box in a corner is lost.",
    "You act in a household. You act in a web shop. Task: Steps so far: 3 of 50.",
    "Recent steps:\n1. saw: did: \nNow you see:\nAllowed actions:\n- ",
    "First think inside then give exactly one allowed action inside. Write nothing else.",
    "You are in the middle of a room. Looking quickly around you, you see a cabinet 1, a drawer 2, and a shelf 3.",
    "Your task is to: put a clean plate in the fridge. find two books and put them on the desk. "
    "look at the laptop under the desklamp. cool some bread and put it in the cabinet.",
    "You arrive at the drawer 1. The drawer 1 is closed. You open the cabinet 2. The cabinet 2 is open. In it, you see "
    "nothing. On the countertop 1, you see a mug 2, and a spoon 1. You pick up the mug 2 from the countertop 1.",
    "You move the apple 1 to the fridge 1. You heat the potato 1 using the microwave 1. You clean the fork 1 using the "
    "sinkbasin 1. You turn on the desklamp 1. You are carrying: a key. You are not carrying anything. Nothing happens.",
    "This is a hot and clean sliced tomato. There's nothing special about it. Next to it, you see nothing.",
    "Instruction: find me a machine wash long sleeve cotton shirt for women, color black, size large, and price lower "
    "than 40.00 dollars [SEP] Back to Search [SEP] Page 1 (Total results: 50) [SEP] Next > [SEP] $12.95",
    "search[red running shoes] click[buy now] click[next >] click[b07xqz8r4l] click[description]",
    '{"name":"search_items","arguments":{"query":"green tea","limit":5}}',
    '{"ok":true,"result":{"items":[{"id":12,"name":"lamp","stock":3,"price":9.5}],"total":1}}',
    '{"ok":false,"error":{"code":"not_found","message":"no order with id 7"}}',
    '{"type":"object","properties":{"user_id":{"type":"integer","description":"user id"}},"required":["user_id"]}',
    "I see the box is to the left of the target, so I push it right. The player has to walk around the wall first.",
    "The goal is not met yet because the object is still in the drawer. I will go to the fridge and open it next.",
    "I was wrong: that action did not change the state. Progress so far is about half; two subgoals are done.",
    "What should the agent do now? It can try the other door, ask for help, or stop and report that it failed.",
)


def tiny_corpus() -> Counter[str]:
    """Training texts with their weights.

    Every word appears bare (as after a tag), after a blank (as in a sentence) and, for names, with a number.

    >>> tiny_corpus()["up"] > tiny_corpus()[" cabinet"] > 0
    True
    """
    texts: Counter[str] = Counter()
    for word in MOVES:
        texts.update({word: 400, " " + word: 60})
    for word in HOUSEHOLD_VERBS:
        texts.update({word: 60, " " + word: 30})
    for weight, words in ((12, RECEPTACLES), (8, OBJECTS), (6, SHOP_WORDS), (6, TOOL_WORDS)):
        for word in words:
            texts.update({word: weight, " " + word: weight})
    for key in TOOL_WORDS:
        texts.update({f'{{"{key}":"': 4, f'","{key}":': 4, f'"{key}":{{"': 2})
    texts.update(dict.fromkeys(SENTENCES, 10))
    return texts
