package job

import "context"

// save writes what the machine changed.
func (m *machine) save(ctx context.Context, records Records) error {
	m.job.Updated = m.now
	if err := records.Update(ctx, m.job, m.steps()); err != nil {
		return err
	}
	for _, a := range m.closed {
		if err := records.CloseAttempt(ctx, a); err != nil {
			return err
		}
	}
	for _, a := range m.opened {
		if err := records.OpenAttempt(ctx, a); err != nil {
			return err
		}
	}
	for _, e := range m.events {
		if err := records.AddEvent(ctx, e); err != nil {
			return err
		}
	}
	if m.job.State.Ended() {
		return records.UnlockSubjects(ctx, m.job.ID)
	}
	return nil
}
