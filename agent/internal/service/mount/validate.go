package mount

import agentv1 "github.com/understudy-db/understudy/proto/understudy/agent/v1"

// checkEnsureMount holds the request against the allow-lists of the host.
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
	return s.checkUnits(r.GetStopUnits(), r.GetBoundUnits())
}
