# docker build -t n2n . && docker run --rm --gpus all --shm-size 16g -v /data:/data n2n train --config ...
# torch from the package index brings CUDA's libraries with it: the host needs its driver alone.
FROM python:3.12-slim

WORKDIR /n2n

# For the compiled core alone; everything works without it, more slowly.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*

# Dependencies first: they change less often than the code.
COPY pyproject.toml README.md ./
COPY pipeline/core.c pipeline/core.c
RUN mkdir model launch \
    && touch pipeline/__init__.py model/__init__.py launch/__init__.py \
    && pip install --no-cache-dir --editable .

COPY . .

ENTRYPOINT ["n2n"]
CMD ["--help"]
