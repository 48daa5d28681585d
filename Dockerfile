# syntax=docker/dockerfile:1
# fluxgym-tui with its own trainer, on CUDA; docs/containers.md. Build: docker compose up -d --build
ARG CUDA_IMAGE=nvidia/cuda:12.8.1-runtime-ubuntu24.04
FROM ${CUDA_IMAGE}

# The package index that PyTorch comes from: pypi (its usual CUDA build), or one of PyTorch's own for another driver,
# such as https://download.pytorch.org/whl/cu126.
ARG TORCH_INDEX=pypi
# 1 also sets up kohya's sd-scripts, in an environment of its own.
ARG KOHYA=0
# What `setup kohya` takes for --torch, as no GPU is seen while an image is built.
ARG KOHYA_TORCH=cu124
ARG EXTRAS=train,caption,optimizers

ENV DEBIAN_FRONTEND=noninteractive \
    LANG=C.UTF-8 \
    PIP_ROOT_USER_ACTION=ignore

COPY docker/packages.sh /opt/fluxgym/docker/packages.sh
RUN /opt/fluxgym/docker/packages.sh

COPY . /opt/fluxgym
RUN --mount=type=cache,target=/root/.cache/pip \
    TORCH_INDEX="${TORCH_INDEX}" EXTRAS="${EXTRAS}" KOHYA="${KOHYA}" KOHYA_TORCH="${KOHYA_TORCH}" \
    /opt/fluxgym/docker/build.sh /opt/fluxgym /usr/local/bin

# Everything that lasts is here: models, datasets, outputs, configs, Hugging Face's cache and its login.
VOLUME /workspace
WORKDIR /workspace
ENV PUID=1000 \
    PGID=1000 \
    FLUXGYM_HOME=/workspace \
    HF_HOME=/workspace/huggingface \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

ENTRYPOINT ["tini", "-g", "--", "/opt/fluxgym/docker/entrypoint.sh"]
