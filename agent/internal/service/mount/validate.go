package mount

import (
	"fmt"
	"regexp"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	domain "github.com/understudy-db/understudy/agent/internal/mount"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"
)

func (s *Service) checkEnsureMount(r *agentv1.EnsureMountRequest) error {
	if err := s.mounts.CheckDeviceIDs("device_ids", r.GetDeviceIds()); err != nil {
		return err
	}
	if err := s.checkOptionalIDs("replace_device_ids", r.GetReplaceDeviceIds()); err != nil {
		return err
	}
	if err := s.mounts.CheckPath("path", r.GetPath()); err != nil {
		return err
	}
	var f errs.Fields
	f.Require("device_ids", len(r.GetDeviceIds()) <= maxNames, "must be at most 20")
	f.Require("replace_device_ids", len(r.GetReplaceDeviceIds()) <= maxNames, "must be at most 20")
	f.Require("filesystem", r.GetFilesystem() == "" || isFilesystem(r.GetFilesystem()),
		"must be ext4, xfs or empty")
	requireUUID(&f, "filesystem_uuid", r.GetFilesystemUuid(), false)
	requireUUID(&f, "source_filesystem_uuid", r.GetSourceFilesystemUuid(), false)
	nonce := r.GetExpectedNonce()
	f.Require("expected_nonce", nonce == "" ||
		regexp.MustCompile(`^[0-9a-f]{32,64}$`).MatchString(nonce),
		"must be 32 to 64 characters of [0-9a-f], or empty")
	requireDuration(&f, "device_timeout", r.GetDeviceTimeout(), maxDeviceTimeout)
	if err := f.Err(); err != nil {
		return err
	}
	return s.checkUnits(r.GetStopUnits(), r.GetBoundUnits())
}

func checkFormat(r *agentv1.FormatVolumeRequest) error {
	var f errs.Fields
	f.Require("device_ids", len(r.GetDeviceIds()) <= maxNames, "must be at most 20")
	f.Require("filesystem", isFilesystem(r.GetFilesystem()), "must be ext4 or xfs")
	requireUUID(&f, "filesystem_uuid", r.GetFilesystemUuid(), true)
	requireDuration(&f, "device_timeout", r.GetDeviceTimeout(), maxDeviceTimeout)
	return f.Err()
}

func checkFreeze(r *agentv1.FreezeFilesystemRequest) error {
	var f errs.Fields
	requireDuration(&f, "limit", r.GetLimit(), maxFreeze)
	return f.Err()
}

func isFilesystem(name string) bool { return name == "ext4" || name == "xfs" }

func requireUUID(f *errs.Fields, field, uuid string, required bool) {
	if uuid == "" && !required {
		return
	}
	f.Require(field, domain.CheckUUID(field, uuid) == nil, "must be a UUID in lower case")
}

func requireDuration(f *errs.Fields, field string, d *durationpb.Duration, most time.Duration) {
	ok := d == nil || d.IsValid() && d.AsDuration() > 0 && d.AsDuration() <= most
	f.Require(field, ok, fmt.Sprintf("must be positive and at most %s", most))
}
