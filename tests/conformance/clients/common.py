"""What the clients are asked to do, and what script.json has the model say to it."""

from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


JANE = Person(name="Jane", age=54)
ASK = [{"role": "user", "content": "What is the capital of France?"}]
ANSWER = "The capital of France is Paris."
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
SUNNY = "It is sunny in Paris: 22 °C."
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
