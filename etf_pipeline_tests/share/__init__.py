"""Tests of a share of several machines: real objects in a real S3 server, and in a folder."""
