# nas-toolkit on CPUs:  docker build -t nas . && docker run --rm --shm-size=2g -v "$PWD:/runs" nas doctor
FROM python:3.11-slim-bookworm AS build

WORKDIR /src
RUN python -m venv /opt/nas
ENV PATH=/opt/nas/bin:$PATH
# of PyTorch's own index, since the wheels of PyPI bring 3 GB of CUDA; a layer of its own, as it seldom changes
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch==2.13.0
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY nas nas
COPY search_spaces search_spaces
# --build-arg COMMIT="$(git rev-parse HEAD)" is what nas --version then tells
ARG COMMIT=""
RUN if [ -n "$COMMIT" ]; then echo "$COMMIT" > nas/core/commit.txt; fi \
    && pip install --no-cache-dir -c constraints.txt '.[ray]'

FROM python:3.11-slim-bookworm

COPY --from=build /opt/nas /opt/nas
RUN useradd --create-home --uid 10001 nas && install --directory --owner nas /runs
ENV PATH=/opt/nas/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /runs
ENTRYPOINT ["nas"]
CMD ["--help"]
