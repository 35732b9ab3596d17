"""Makes the bucket of evidence, with object lock, and the user that Liuhen has there: it may keep, and not undo a lock.

Run once before `store`; run again it changes nothing. Object lock cannot be added to a bucket later. For another S3,
make the same by its own means: docs/guide/full-stack.md.
"""

import json
import os
import sys
from pathlib import Path

from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, S3Error
from minio.minioadmin import MinioAdmin

NAMES = ("S3_ENDPOINT", "S3_BUCKET", "S3_KEY_ID", "S3_SECRET_FILE", "S3_ROOT_USER", "S3_ROOT_SECRET_FILE")
POLICY = "liuhen"
IN_BUCKET = (
    "GetBucketLocation",
    "GetBucketObjectLockConfiguration",
    "GetBucketVersioning",
    "ListBucket",
    "ListBucketMultipartUploads",
    "ListBucketVersions",
)
ON_OBJECTS = (
    "AbortMultipartUpload",
    "DeleteObject",
    "DeleteObjectVersion",
    "GetObject",
    "GetObjectLegalHold",
    "GetObjectRetention",
    "GetObjectTagging",
    "GetObjectVersion",
    "GetObjectVersionTagging",
    "ListMultipartUploadParts",
    "PutObject",
    "PutObjectLegalHold",
    "PutObjectRetention",
    "PutObjectTagging",
    "PutObjectVersionTagging",
)
"""All that Liuhen does. `BypassGovernanceRetention` is not among it, nor is changing the bucket itself."""


def rights(bucket: str) -> dict[str, object]:
    """Return the policy of Liuhen's user."""
    statements = [(IN_BUCKET, f"arn:aws:s3:::{bucket}"), (ON_OBJECTS, f"arn:aws:s3:::{bucket}/*")]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": [f"s3:{action}" for action in actions], "Resource": [resource]}
            for actions, resource in statements
        ],
    }


def main() -> int:
    """Make both."""
    endpoint, bucket, key_id, secret_file, root, root_file = (os.environ[name] for name in NAMES)
    root_secret = Path(root_file).read_text(encoding="utf-8").strip()
    client = Minio(endpoint, access_key=root, secret_key=root_secret, secure=False)
    if not client.bucket_exists(bucket):
        client.make_bucket(bucket, object_lock=True)
    client.get_object_lock_config(bucket)  # refuses where the bucket was made without lock
    admin = MinioAdmin(endpoint=endpoint, credentials=StaticProvider(root, root_secret), secure=False)
    admin.policy_add(POLICY, policy=rights(bucket))
    admin.user_add(key_id, Path(secret_file).read_text(encoding="utf-8").strip())
    attached = json.loads(admin.user_info(key_id)).get("policyName", "")
    if POLICY not in attached.split(","):
        admin.policy_set(POLICY, user=key_id)
    sys.stdout.write(f"bucket {bucket} has object lock, user {key_id} may keep\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyError, OSError, S3Error, MinioAdminException) as error:
        sys.exit(f"make_bucket: {type(error).__name__}: {error}")
