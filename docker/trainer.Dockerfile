# The trainer: the package with its extra `train`, for CPUs.
# Built from the root of the repository: docker build -f docker/trainer.Dockerfile -t palaestra-trainer .
# pip takes torch from where it is told to look; a page of CPU builds saves several gigabytes:
#   --build-arg PIP_EXTRA_INDEX_URL=...

FROM python:3.11.13-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
ARG PIP_EXTRA_INDEX_URL=""
RUN python -m venv /opt/palaestra \
    && /opt/palaestra/bin/pip install --no-cache-dir "$(echo /wheels/palaestra-*.whl)[train,postgres]"

FROM python:3.11.13-slim-bookworm
# A new volume takes its owner from the folder it is mounted on.
RUN useradd --uid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin palaestra \
    && mkdir -p /work/runs && chown -R 10001:10001 /work
COPY --from=build /opt/palaestra /opt/palaestra
ENV PATH=/opt/palaestra/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /work
# A training run listens nowhere: what it did is in its folder, and its exit status says how it ended.
HEALTHCHECK NONE
ENTRYPOINT ["palaestra"]
CMD ["train", "sokoban"]
