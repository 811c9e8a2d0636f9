"""Sources and outputs on a real S3 server: the bytes of a local run, whatever the connection does."""

import hashlib
import io
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from pipeline import inspect
from pipeline.errors import BadInput
from pipeline.reader import ShardSet
from pipeline.remote.cache import CacheConfig, ShardCache, open_files
from pipeline.remote.errors import Denied, TryAgain, passes
from pipeline.remote.place import Remote
from pipeline.remote.send import compare
from pipeline.remote.store import store_of
from pipeline.shard import ShardConfig, main, shard
from pipeline.sharding.plan import PlanConfig
from pipeline.sources.listing import list_sources
from tests.conftest import environment, folder_bytes, stamped
from tests.pipeline.servers import cutting_proxy, served

boto3 = pytest.importorskip("boto3")
pytest.importorskip("moto.server")
pytest.importorskip("s3fs")

SMALL = ("--shard-mb", "0.02", "--workers", "2")


class Bucket:
    """A bucket of a server in a process of its own, by another client than ours."""

    def __init__(self, port: int, name: str) -> None:
        self.port, self.name, self.url = port, name, f"s3://{name}"
        self.endpoint = f"http://127.0.0.1:{port}"
        self.client = boto3.client("s3", endpoint_url=self.endpoint, **KEYS)
        self.client.create_bucket(Bucket=name)

    def put(self, key: str, data: bytes, acl: str = "private") -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data, ACL=acl)

    def upload(self, folder: Path, prefix: str) -> None:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())

    def objects(self, prefix: str) -> dict[str, Any]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix + "/")
        found = [item for page in pages for item in page.get("Contents", [])]
        return {item["Key"].removeprefix(prefix + "/"): (item["ETag"], item["LastModified"]) for item in found}

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def folder_bytes(self, prefix: str) -> dict[str, bytes]:
        return {name: self.get(f"{prefix}/{name}") for name in self.objects(prefix)}


KEYS = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "region_name": "us-east-1"}


def settings(endpoint: str) -> dict[str, str]:
    kept = {name: value for name, value in environment().items() if not name.startswith(("AWS_", "FSSPEC_"))}
    ours = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return {**kept, **ours, **nowhere, "AWS_EC2_METADATA_DISABLED": "true", "no_proxy": "127.0.0.1"}


def run(endpoint: str, module: str, *arguments: object, **changes: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", module, *map(str, arguments)]
    env = {name: value for name, value in {**settings(endpoint), **changes}.items() if value}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=200, check=False)


def n2n_shard(bucket: Bucket, *arguments: object) -> str:
    """The verb in this process, which has spoken to this server before; what it prints."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as said:
        for name, value in settings(bucket.endpoint).items():
            patch.setenv(name, value)
        main([*map(str, arguments), "--shard-mb", "0.02", "--workers", "1"])
    return said.getvalue()


def refused(done: "subprocess.CompletedProcess[str]", *told: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    for text in told:
        assert text in done.stderr, done.stderr


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = int(free.getsockname()[1])
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(number)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", number)).close()
            break
        except OSError:
            time.sleep(0.05)
    yield number
    store_of.cache_clear()
    server.kill()
    server.wait()


@pytest.fixture
def bucket(port: int, request: pytest.FixtureRequest) -> Bucket:
    return Bucket(port, f"bucket-{abs(hash(request.node.name))}")


@pytest.fixture(scope="module")
def photos(pictures: Path, jpeg: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with names that addresses make trouble of, twins among them, and what is none."""
    folder = Path(shutil.copytree(pictures, tmp_path_factory.mktemp("photos") / "in"))
    names = ["a b.jpg", "\U0001f4f7.jpg", "50%25 + 1.jpg", "class0/deep/er/q?x=1#y.jpg", "class0-1/\xe9.jpg", "[1].jpg"]
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(stamped(jpeg, number))
    (folder / "twin.jpg").write_bytes((folder / "a b.jpg").read_bytes())
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.jpg").write_bytes(jpeg)
    return folder


@pytest.fixture(scope="module")
def here(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The set that a local run makes of them."""
    out = tmp_path_factory.mktemp("here") / "set"
    shard(list_sources([photos]), out, ShardConfig(plan=PlanConfig(shard_mb=0.02)))
    assert len(list(out.glob("*.tar"))) > 3
    return folder_bytes(out)


def test_a_prefix_gives_the_bytes_of_its_folder(
    bucket: Bucket, photos: Path, here: dict[str, bytes], tmp_path: Path
) -> None:
    bucket.upload(photos, "in")
    n2n_shard(bucket, f"{bucket.url}/in/", "--out", tmp_path / "set")
    assert folder_bytes(tmp_path / "set") == here


def test_globs_and_single_pictures(bucket: Bucket, photos: Path, tmp_path: Path) -> None:
    bucket.upload(photos, "in")
    for root, out in ((f"{bucket.url}/in", "remote"), (photos, "local")):
        assert "9 pictures" in n2n_shard(bucket, f"{root}/class[01]", "--out", tmp_path / out)
    assert folder_bytes(tmp_path / "remote") == folder_bytes(tmp_path / "local")
    single = f"{bucket.url}/in/class0/picture0.png"
    assert "1 pictures" in n2n_shard(bucket, single, "--out", tmp_path / "one")
    assert "5 pictures" in n2n_shard(bucket, single, photos / "class1", "--out", tmp_path / "two")
    refused(run(bucket.endpoint, "pipeline.shard", f"{bucket.url}/in/x*", "--out", tmp_path / "no"), "nothing fits")


def archives(photos: Path, folder: Path) -> list[Path]:
    """A tar, a tar of tars, a zip and a deflated one."""
    made = [folder / name for name in ("plain.tar", "of.tar", "stored.zip", "packed.zip")]
    subprocess.run(["tar", "-cf", made[0], "-C", photos, "."], check=True)
    subprocess.run(["tar", "-cf", made[1], "-C", folder, "plain.tar"], check=True)
    for path, method in zip(made[2:], (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED), strict=True):
        with zipfile.ZipFile(path, "w", method) as archive:
            for picture in sorted(photos.rglob("*.*")):
                archive.write(picture, str(picture.relative_to(photos)))
    return made


@pytest.mark.parametrize("number", range(4))
def test_archives_are_read_where_they_lie(bucket: Bucket, photos: Path, tmp_path: Path, number: int) -> None:
    archive = archives(photos, tmp_path)[number]
    bucket.put(f"x/{archive.name}", archive.read_bytes())
    for source, out in ((archive, tmp_path / "local"), (f"{bucket.url}/x/{archive.name}", tmp_path / "remote")):
        n2n_shard(bucket, source, "--out", out)
    assert folder_bytes(tmp_path / "remote") == folder_bytes(tmp_path / "local")


def test_our_own_sets_are_sharded_again(bucket: Bucket, photos: Path, tmp_path: Path) -> None:
    n2n_shard(bucket, photos, "--out", f"{bucket.url}/set")
    bucket.client.download_file(bucket.name, "set/shard-000001.tar", str(tmp_path / "shard-000001.tar"))
    for source, out in ((f"{bucket.url}/set", "remote"), (tmp_path, "local")):
        n2n_shard(bucket, f"{source}/shard-000001.tar", "--out", tmp_path / out, "--store", "pixels")
    assert folder_bytes(tmp_path / "remote") == folder_bytes(tmp_path / "local")


def test_an_output_elsewhere_has_the_bytes_of_one_here(bucket: Bucket, photos: Path, here: dict[str, bytes]) -> None:
    assert bucket.url in n2n_shard(bucket, photos, "--out", f"{bucket.url}/set")
    assert bucket.folder_bytes("set") == here  # and nothing of the work
    before = bucket.objects("set")
    bucket.put("set/.work/plan.json", b"{}")  # as a run leaves it that is killed in its last moment
    n2n_shard(bucket, photos, "--out", f"{bucket.url}/set")
    assert bucket.objects("set") == before
    done = run(bucket.endpoint, "pipeline.shard", photos / "class0", "--out", f"{bucket.url}/set")
    refused(done, "already holds another set")
    bucket.put("taken/thesis.tex", b"x")
    done = run(bucket.endpoint, "pipeline.shard", photos, "--out", f"{bucket.url}/taken")
    refused(done, "not empty")
    assert list(bucket.objects("taken")) == ["thesis.tex"]


def test_a_set_in_a_bucket_is_read_shard_by_shard(bucket: Bucket, shards: Path, tmp_path: Path) -> None:
    """By a process that then forks as well, and through half of the room that the set takes."""
    bucket.upload(shards, "set")
    here = ShardSet(shards)
    sizes = sorted((entry.bytes for entry in here.index.shards), reverse=True)
    config = CacheConfig(folder=str(tmp_path / "cache"), most_gb=sum(sizes[:2]) / 1e9)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings(bucket.endpoint).items():
            patch.setenv(name, value)
        files = open_files(f"{bucket.url}/set", config, 1)
        assert isinstance(files, ShardCache)

        def read() -> None:
            there = ShardSet(files)
            for sample in range(len(here)):
                assert there.pixels(sample).tobytes() == here.pixels(sample).tobytes()

        read()
        child = multiprocessing.get_context("fork").Process(target=read)
        child.start()
        child.join(120)
        assert child.exitcode == 0
        assert len(list(files.folder.glob("*.tar"))) < len(sizes)
        bucket.client.delete_object(Bucket=bucket.name, Key=f"set/{here.index.shards[0].name}")
        files.path(0).unlink(missing_ok=True)
        with pytest.raises(BadInput, match=rf"is missing[^$]*{bucket.url}/set/{here.index.shards[0].name}"):
            files.open(0)


def test_killed_three_times_it_goes_on_to_the_same_bytes(bucket: Bucket, many: Path, tmp_path: Path) -> None:
    shard(list_sources([many]), tmp_path / "here", ShardConfig(plan=PlanConfig(shard_mb=0.02)))
    command = [sys.executable, "-m", "pipeline.shard", str(many), "--out", f"{bucket.url}/set", *SMALL]
    dice, killed, counts = random.Random(4), 0, [0]
    for _ in range(3):
        process = subprocess.Popen(command, env=settings(bucket.endpoint), stderr=subprocess.DEVNULL)
        while process.poll() is None and len(bucket.objects("set")) <= counts[-1]:
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.4))
        process.kill()
        process.wait()
        killed += process.returncode == -signal.SIGKILL
        counts.append(len(bucket.objects("set")))
        assert "index.json" not in bucket.objects("set")
    assert killed == 3
    assert counts == sorted(counts)  # what was finished stays
    n2n_shard(bucket, many, "--out", f"{bucket.url}/set")
    assert bucket.folder_bytes("set") == folder_bytes(tmp_path / "here")


def test_parts_and_the_last_step(bucket: Bucket, photos: Path, here: dict[str, bytes]) -> None:
    out = f"{bucket.url}/set"
    n2n_shard(bucket, photos, "--out", out, "--part", "1/2")
    refused(run(bucket.endpoint, "pipeline.shard", photos, "--out", out, *SMALL, "--finish"), "not complete")
    n2n_shard(bucket, photos, "--out", out, "--part", "0/2")
    data = bucket.get("set/shard-000001.tar")
    bucket.put("set/shard-000001.tar", data[:-1] + b"x")
    done = run(bucket.endpoint, "pipeline.shard", photos, "--out", out, *SMALL, "--finish")
    refused(done, "damaged shards", "shard-000001.tar: SHA-256")
    assert "index.json" not in bucket.objects("set")
    bucket.put("set/shard-000001.tar", data)
    n2n_shard(bucket, photos, "--out", out, "--finish")
    assert bucket.folder_bytes("set") == here


def test_a_set_elsewhere_is_inspected(bucket: Bucket, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    n2n_shard(bucket, photos, "--out", f"{bucket.url}/set", "--split", "val=0.3")
    folder = f"{bucket.url}/set/val"
    inspect.main([folder, "--verify"])
    assert "every checksum is right" in capsys.readouterr().out
    bucket.put("set/val/samples.npy", b"x")
    bucket.client.delete_object(Bucket=bucket.name, Key="set/val/shard-000000.idx")
    with pytest.raises(SystemExit, match="2"):
        inspect.main([folder, "--verify"])
    said = capsys.readouterr().out
    assert "samples.npy: SHA-256" in said
    assert "shard-000000.idx: missing" in said
    with pytest.raises(BadInput, match="set on a disk"):
        inspect.main([folder, "--html", "page.html"])
    with pytest.raises(BadInput, match="not a finished shard set"):
        inspect.main([f"{bucket.url}/none"])


def test_what_arrives_otherwise_than_sent_is_not_taken_for_written(bucket: Bucket) -> None:
    there = Remote(f"{bucket.url}/x.tar")
    there.write_bytes(b"picture")
    for other in (b"pictuRe", b"pic", b""):
        bucket.put("x.tar", other)
        with pytest.raises(TryAgain):
            compared(b"picture", there)
    upload = bucket.client.create_multipart_upload(Bucket=bucket.name, Key="x.tar")  # whose ETag is no MD5
    names = {"Bucket": bucket.name, "Key": "x.tar", "UploadId": upload["UploadId"]}
    part = bucket.client.upload_part(Body=b"picture", PartNumber=1, **names)
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    bucket.client.complete_multipart_upload(MultipartUpload=parts, **names)
    assert there.info()["ETag"].endswith('-1"')
    compared(b"picture", there)
    with pytest.raises(TryAgain, match="other bytes"):
        compared(b"pictuRe", there)


def compared(data: bytes, there: Remote) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        compare(file, there.url)


SEND = """
import hashlib, os, resource, sys
from pipeline.remote import send as remote_send
from pipeline.remote.place import Remote
remote_send.AT_ONCE = int(sys.argv[2])
Remote(sys.argv[1] + "-small").write_bytes(b"the libraries are loaded")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with Remote(sys.argv[1]).write_whole() as file:
    for _ in range(100):
        file.write(os.urandom(1 << 20))
    file.seek(0)
    print(hashlib.file_digest(file, "md5").hexdigest())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("at_once", [1 << 33, 1 << 20], ids=["in one request", "in parts"])
def test_memory_does_not_grow_with_what_is_sent(bucket: Bucket, at_once: int) -> None:
    """100 MiB with less than 80 MiB more, in parts four of 8 MiB at a time."""
    command = [sys.executable, "-c", SEND, f"{bucket.url}/large.tar", str(at_once)]
    done = subprocess.run(command, env=settings(bucket.endpoint), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    md5, grown_mb = done.stdout.split()
    assert hashlib.md5(bucket.get("large.tar")).hexdigest() == md5
    etag = bucket.client.head_object(Bucket=bucket.name, Key="large.tar")["ETag"].strip('"')
    assert etag == md5 if at_once > 100 << 20 else etag.endswith("-13")
    assert int(grown_mb) < 80, grown_mb


@pytest.mark.parametrize("direction", ["in", "out"])
def test_connections_cut_in_the_middle_change_no_byte(
    bucket: Bucket, photos: Path, here: dict[str, bytes], tmp_path: Path, direction: str
) -> None:
    bucket.upload(photos, "in")
    source, out = {"in": (f"{bucket.url}/in", tmp_path / "set"), "out": (photos, f"{bucket.url}/set")}[direction]
    with cutting_proxy(bucket.port, left=12, after=300) as cuts:
        done = run(cuts.url, "pipeline.shard", source, "--out", out, *SMALL)
    assert done.returncode == 0, done.stderr
    assert cuts.made == 12
    assert (folder_bytes(tmp_path / "set") if direction == "in" else bucket.folder_bytes("set")) == here


def test_a_source_that_has_gone_or_changed_is_told(bucket: Bucket, many: Path, tmp_path: Path) -> None:
    bucket.upload(many / "class0", "in")
    command = [sys.executable, "-m", "pipeline.shard", f"{bucket.url}/in", "--out", tmp_path / "set", *SMALL]
    for key, data in (("in/500.jpg", b"another"), ("in/510.jpg", None)):
        shutil.rmtree(tmp_path / "set", ignore_errors=True)
        environ = settings(bucket.endpoint)
        process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while process.poll() is None and not (tmp_path / "set" / ".work" / "plan.json").exists():
            time.sleep(0.001)
        original = bucket.get(key)
        if data is None:
            bucket.client.delete_object(Bucket=bucket.name, Key=key)
        else:
            bucket.put(key, data)
        stderr = process.communicate()[1]
        assert process.returncode == 2, stderr
        assert key.rpartition("/")[2] in stderr
        assert "Traceback" not in stderr
        bucket.put(key, original)


def test_what_a_user_can_get_wrong(bucket: Bucket, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    shard_it = "pipeline.shard"
    refused(run(bucket.endpoint, shard_it, f"{bucket.url}/none", "--out", out), "no such source", f"{bucket.url}/none")
    refused(run(bucket.endpoint, shard_it, "s3://no-bucket-of-ours/x", "--out", out), "no such source")
    refused(run(bucket.endpoint, shard_it, photos, "--out", "s3://no-bucket-of-ours/x"), "no such bucket", "create")
    refused(run(bucket.endpoint, shard_it, "ftp://host/x", "--out", out), "not an address", "s3://BUCKET")
    refused(run(bucket.endpoint, shard_it, photos, "--out", "https://host/x"), "nothing can be written there")
    bucket.put("x.tar.gz", b"x")
    refused(run(bucket.endpoint, shard_it, f"{bucket.url}/x.tar.gz", "--out", out), "compressed archive")
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    done = run(bucket.endpoint, shard_it, f"{bucket.url}/in", "--out", out, **nobody)
    refused(done, "no credentials", "AWS_PROFILE", "FSSPEC_S3_ANON")
    assert not out.exists()


def test_a_public_bucket_needs_no_credentials(bucket: Bucket, photos: Path, tmp_path: Path) -> None:
    for path in (photos / "class1").iterdir():
        bucket.put(f"in/{path.name}", path.read_bytes(), "public-read")
    bucket.client.put_bucket_acl(Bucket=bucket.name, ACL="public-read")
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "FSSPEC_S3_ANON": "true"}
    done = run(bucket.endpoint, "pipeline.shard", f"{bucket.url}/in", "--out", tmp_path / "set", **nobody)
    assert done.returncode == 0, done.stderr


def test_a_store_that_refuses(photos: Path, tmp_path: Path) -> None:
    with served(tmp_path) as site:
        site.refuse = 403
        refused(
            run(site.url, "pipeline.shard", "s3://bucket/in", "--out", tmp_path / "x"), "access denied", "AWS_PROFILE"
        )
        refused(run(site.url, "pipeline.shard", photos, "--out", "s3://bucket/x"), "access denied")


def test_a_missing_package_is_named(photos: Path, tmp_path: Path) -> None:
    for package, url in (("s3fs", "s3://b/x"), ("gcsfs", "gs://b/x"), ("aiohttp", "https://host/x")):
        broken = tmp_path / package
        broken.mkdir()
        (broken / f"{package}.py").write_text(f"raise ImportError('No module named {package}')")
        path = f"{broken}:{environment()['PYTHONPATH']}"
        done = run("", "pipeline.shard", url, "--out", tmp_path / "set", PYTHONPATH=path)
        refused(done, "is not installed", package, "pip install -e '.[remote]'")


def test_no_room_for_a_shard_before_it_is_sent(bucket: Bucket, photos: Path) -> None:
    command = f"ulimit -f 8; {sys.executable} -m pipeline.shard {photos} --out {bucket.url}/set --workers 1"
    limited = ["bash", "-c", command]
    done = subprocess.run(limited, env=settings(bucket.endpoint), capture_output=True, text=True, check=False)
    refused(done, "the disk refused", "File too large", "TMPDIR")
    assert not [name for name in bucket.objects("set") if name.endswith((".tar", ".json")) and ".work" not in name]


@pytest.mark.parametrize(
    ("code", "of_the_object"),
    [("AccessDenied", True), ("ExpiredToken", False), ("InvalidAccessKeyId", False), ("SignatureDoesNotMatch", False)],
)
def test_an_account_that_expires_stops_the_run_and_leaves_no_picture_out(code: str, of_the_object: bool) -> None:
    from botocore.exceptions import ClientError
    from s3fs.errors import translate_boto_error

    error = translate_boto_error(ClientError({"Error": {"Code": code, "Message": "no"}}, "GetObject"))
    with pytest.raises(BadInput, match="access denied") as raised:
        passes(error, "s3://bucket/a.jpg")
    assert isinstance(raised.value, Denied) == of_the_object
