# centaurlab in a container: a wheel is built in one stage and installed in the next; it runs without root's rights.
#   docker build -t centaurlab .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$HOME/.cache:/cache" -v "$PWD:/work" centaurlab centaurlab demo --quick
# With GPUs: --gpus all. PyPI's torch holds its CUDA libraries; the machine's driver is all that it needs besides.
FROM python:3.11.13-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11.13-slim-bookworm
COPY constraints-image.txt /tmp/constraints.txt
COPY --from=wheel /wheels /tmp/wheels
RUN set -- /tmp/wheels/*.whl \
    && pip install --no-cache-dir --constraint /tmp/constraints.txt "$1[starter]" \
    && rm -r /tmp/wheels /tmp/constraints.txt \
    && mkdir /cache /work \
    && chown 1000:1000 /cache /work
# The caches of the hub (/cache/huggingface) and of centaurlab: mount a folder that lasts. Runs go to /work.
# USER: libraries ask for a name, which a user id of the host does not have in here.
ENV XDG_CACHE_HOME=/cache HOME=/cache USER=centaurlab
VOLUME /cache
USER 1000
WORKDIR /work
CMD ["centaurlab", "--help"]
