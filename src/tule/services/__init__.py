"""One folder per AWS service, named as botocore names it. A service never imports another."""
