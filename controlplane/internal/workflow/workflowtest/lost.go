package workflowtest

import "github.com/understudy-db/understudy/controlplane/internal/provider"

// Lose has the devices below the host's mounts go, which stay mounted; the caller holds World.Mu.
func (h *Host) Lose() {
	for _, m := range h.Mounts {
		m.volume = "gone-" + m.volume
	}
}

// TakeOff takes the volumes off the machine by force; the caller holds World.Mu.
func (h *Host) TakeOff() {
	for _, v := range h.attached() {
		v.MachineID, v.Attachment, v.State = "", provider.AttachmentNone, provider.VolumeAvailable
	}
	h.Lose()
}
