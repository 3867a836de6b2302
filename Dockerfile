# Everything from simulation to report in one image; results belong to whoever runs it:
#   docker build -t rlleak .
#   mkdir -p results && docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD/results:/rlleak/results" rlleak
# Other commands come behind it: ... rlleak make smoke, ... rlleak make test.
# Any Debian or Ubuntu with Python 3.11 or newer serves as base, e.g. --build-arg BASE_IMAGE=debian:bookworm without a GPU.
ARG BASE_IMAGE=nvidia/cuda:12.8.1-base-ubuntu24.04
# hadolint ignore=DL3006
FROM ${BASE_IMAGE}

# Drawing rooms needs OpenGL; Unity (SIMULATOR=thor) needs Vulkan, which takes the driver's graphics files.
ENV NVIDIA_DRIVER_CAPABILITIES=all \
    NVIDIA_VISIBLE_DEVICES=all \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /rlleak

COPY envs/apt.txt envs/apt.txt
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive xargs --arg-file=envs/apt.txt apt-get install --yes --no-install-recommends \
       bsdextrautils ca-certificates git libvulkan1 make python3 python3-venv vulkan-tools \
    && rm -rf /var/lib/apt/lists/*

COPY envs envs
RUN python3 -m venv .venv && .venv/bin/python -m pip install --requirement envs/requirements.lock

COPY . .
# Any user may run the image: what a run writes lies in results, in Snakemake's own folder, and at home.
RUN make setup \
    && useradd --create-home --uid 10001 rlleak \
    && mkdir -p results .snakemake \
    && chmod a+rwx . results .snakemake /home/rlleak

ENV HOME=/home/rlleak
USER 10001
CMD ["make", "reproduce"]
