"""What people write themselves: the prompts of a file, so many at a time, an answer a line."""
import asyncio
import json
import sys

from openai import AsyncOpenAI


async def main(prompts, out, jobs, model):
    client = AsyncOpenAI()
    room = asyncio.Semaphore(int(jobs))
    with open(prompts) as lines, open(out, "w") as answers:

        async def ask(index, prompt):
            async with room:
                messages = [{"role": "user", "content": prompt}]
                answer = await client.chat.completions.create(model=model, messages=messages)
            text, usage = answer.choices[0].message.content, answer.usage
            line = {"index": index, "text": text, "input": usage.prompt_tokens, "output": usage.completion_tokens}
            answers.write(json.dumps(line) + "\n")

        await asyncio.gather(*(ask(index, line.rstrip("\n")) for index, line in enumerate(lines)))


asyncio.run(main(*sys.argv[1:]))
