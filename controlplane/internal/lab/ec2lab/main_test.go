package ec2lab_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/lab/nspawn"
)

const fleet = "default"

func TestMain(m *testing.M) {
	if handled, err := nspawn.Supervise(os.Args); handled {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	for key, value := range map[string]string{"AWS_ACCESS_KEY_ID": ec2lab.AccessKey,
		"AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"} {
		os.Setenv(key, value)
	}
	os.Exit(m.Run())
}
