# Everything from simulation to report in one image:
#   docker build -t rlleak . && docker run --gpus all -v "$PWD/results:/rlleak/results" rlleak
# Any Debian or Ubuntu base with Python 3.11 or newer serves, e.g. --build-arg BASE_IMAGE=debian:bookworm without a GPU.
ARG BASE_IMAGE=nvidia/cuda:12.8.1-base-ubuntu24.04
FROM ${BASE_IMAGE}

# Drawing rooms needs OpenGL; Unity (SIMULATOR=thor) needs Vulkan, which the driver's own files serve.
ENV NVIDIA_DRIVER_CAPABILITIES=all \
    NVIDIA_VISIBLE_DEVICES=all \
    DEBIAN_FRONTEND=noninteractive \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /rlleak

COPY envs/apt.txt envs/apt.txt
# hadolint ignore=DL3008
RUN apt-get update \
    && xargs apt-get install --yes --no-install-recommends \
       ca-certificates git libvulkan1 make python3 python3-venv vulkan-tools < envs/apt.txt \
    && rm -rf /var/lib/apt/lists/*

COPY envs envs
COPY Makefile pyproject.toml README.md LICENSE ./
RUN python3 -m venv .venv && .venv/bin/python -m pip install --requirement envs/requirements.lock

COPY . .
# Whoever runs the image, results belong to them: nothing outside the mounted folder, /tmp and the home needs writing.
RUN make setup \
    && useradd --create-home --uid 10001 rlleak \
    && mkdir -p results .snakemake \
    && chown -R rlleak:rlleak /rlleak/results /rlleak/.snakemake /rlleak/.venv \
    && chmod -R a+rwX /rlleak/results /rlleak/.snakemake \
    && chmod a+rwx /rlleak

ENV HOME=/home/rlleak
RUN chmod a+rwx /home/rlleak
USER rlleak
VOLUME /rlleak/results
CMD ["make", "reproduce"]
