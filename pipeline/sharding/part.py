"""Which shards are this process's, where several machines make one set."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import BadInput


@dataclass(frozen=True)
class Part:
    """Part `number` (from 0) of `count`: shards are dealt out like cards."""

    number: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def shards(self, total: int) -> range:
        return range(self.number, total, self.count)

    @classmethod
    def parse(cls, text: str) -> "Part":
        number, slash, count = text.partition("/")
        if not slash or not number.isdecimal() or not count.isdecimal() or int(number) >= int(count):
            raise BadInput("an impossible part", "--part", text, "I/N with I from 0 to N - 1, such as 0/4 to 3/4")
        return cls(int(number), int(count))


def part_of_environment(environment: Mapping[str, str]) -> Part:
    """The part that a launcher's variables name; all of it where there is none.

    A Slurm array (its first index and step may be any), a Kubernetes Indexed Job (which tells its pods their index
    alone: put its `completions` into JOB_COMPLETIONS), torchrun.
    """
    try:
        if "SLURM_ARRAY_TASK_COUNT" in environment:
            first, step = (int(environment.get(f"SLURM_ARRAY_TASK_{name}", d)) for name, d in (("MIN", 0), ("STEP", 1)))
            part = Part(
                (int(environment["SLURM_ARRAY_TASK_ID"]) - first) // step, int(environment["SLURM_ARRAY_TASK_COUNT"])
            )
        elif "JOB_COMPLETION_INDEX" in environment:
            part = Part(int(environment["JOB_COMPLETION_INDEX"]), int(environment["JOB_COMPLETIONS"]))
        elif "WORLD_SIZE" in environment:
            part = Part(int(environment["RANK"]), int(environment["WORLD_SIZE"]))
        else:
            return Part()
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise BadInput(
            "the launcher's variables do not say which part this is",
            where="the environment",
            got=f"{type(error).__name__}: {error}",
            wanted="SLURM_ARRAY_TASK_ID and _COUNT, JOB_COMPLETION_INDEX and JOB_COMPLETIONS, or RANK and WORLD_SIZE",
            todo="set what is missing, or say --part I/N",
        ) from error
    return Part.parse(str(part))
