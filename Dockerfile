# CPU:   docker build -t solo-adv .
# CUDA:  docker build -t solo-adv --build-arg TORCH=cu128 .     then: docker run --gpus all ...
# The environment is the one that the Makefile makes; TORCH chooses the build of torch.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim
ARG TORCH=cpu
ENV UV_TORCH_BACKEND=${TORCH}
RUN apt-get update && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /solo-adv
COPY . .
RUN make install PYTHON=python
ENV PATH=/solo-adv/.venv/bin:${PATH}
CMD ["make", "demo"]
