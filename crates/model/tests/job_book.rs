//! What a request about a job means.

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use model::access::TenantPath;
    use model::book::{Applied, Asked, Draft, JobAnswer, JobBook, JobRequest, Refusal, SubmitKey};
    use model::id::{InstanceId, JobId};
    use model::job::{Job, JobSpec, OnFailure, OnPartition, PlacementRules, ServiceSpec};
    use model::name::Name;
    use model::operation::{OperationKind, Progress};
    use model::reason::{Reason, ReasonCode};
    use model::slot::Slot;
    use model::time::Wall;
    use model::units::Resources;
    use model::workload::{Pull, Restart, RuntimeKind, SpecHash, Workload};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn asked() -> Asked {
        Asked::default()
    }

    fn id(number: u128) -> JobId {
        JobId::from_bits(number)
    }

    fn service(text: &str, hash: u8, replicas: u32) -> Arc<ServiceSpec> {
        Arc::new(ServiceSpec {
            takeover: model::job::Takeover::default(),
            name: name(text),
            workload: Arc::new(Workload {
                hash: SpecHash([hash; 16]),
                runtime: RuntimeKind::Noop,
                image: None,
                pull: Pull::IfAbsent,
                command: Vec::new(),
                args: Vec::new(),
                environment: BTreeMap::new(),
                ports: Vec::new(),
                volumes: Vec::new(),
                files: BTreeMap::new(),
                resources: Resources::default(),
                restart: Restart::Always,
                health: None,
                security: model::security::Security::default(),
                secrets: model::secret::Secrets::default(),
                stop_grace: Duration::from_secs(5),
            }),
            placement: PlacementRules::default(),
            replicas,
        })
    }

    fn draft(number: u128, job: &str, services: Vec<Arc<ServiceSpec>>) -> Draft {
        Draft {
            id: id(number),
            spec: Arc::new(JobSpec {
                reconcile: model::job::Reconcile::default(),
                name: name(job),
                lost_after: None,
                on_partition: OnPartition::Stay,
                services,
            }),
        }
    }

    fn simple(number: u128, job: &str) -> Draft {
        draft(number, job, vec![service(job, 1, 1)])
    }

    /// A book with the job `web` of id 1.
    fn book() -> JobBook {
        let mut book = JobBook::default();
        submit(&mut book, &[simple(1, "web")]).unwrap();
        book
    }

    fn submit(book: &mut JobBook, drafts: &[Draft]) -> Result<Vec<JobId>, Refusal> {
        let jobs = book.submit(&asked(), drafts, Wall(7))?;
        let ids = jobs.iter().map(|job| job.id).collect();
        for job in jobs {
            book.apply(job);
        }
        Ok(ids)
    }

    fn put(book: &mut JobBook, path: &str, draft: &Draft) -> Result<&'static str, Refusal> {
        Ok(match book.put(&asked(), path, draft, Wall(8))? {
            Applied::Same(_) => "same",
            Applied::Created(job) => {
                book.apply(job);
                "created"
            }
            Applied::Changed(job) => {
                book.apply(job);
                "changed"
            }
        })
    }

    /// What was asked for is done.
    fn done(book: &mut JobBook) {
        let jobs: Vec<_> = book.iter().cloned().collect();
        for mut job in jobs {
            job.operation = job
                .operation
                .map(|operation| operation.ended(Progress::Done));
            book.apply(job);
        }
    }

    fn delete(book: &mut JobBook, key: &str, at: i64) -> Result<JobId, Refusal> {
        let job = book.delete(&asked(), key, Wall(at))?;
        let id = job.id;
        book.apply(job);
        Ok(id)
    }

    fn in_use(by: u128) -> Refusal {
        Refusal::NameInUse {
            name: name("web"),
            by: id(by),
        }
    }

    #[test]
    fn a_new_job_is_accepted_once() {
        let mut book = JobBook::default();
        assert_eq!(submit(&mut book, &[simple(1, "web")]), Ok(vec![id(1)]));
        assert_eq!(submit(&mut book, &[simple(2, "web")]), Err(in_use(1)));
        assert_eq!(book.len(), 1);
    }

    #[test]
    fn of_five_hundred_equal_names_one_is_accepted() {
        let mut book = JobBook::default();
        let answers: Vec<bool> = (0..500)
            .map(|number| submit(&mut book, &[simple(number, "web")]).is_ok())
            .collect();
        assert_eq!(answers.iter().filter(|accepted| **accepted).count(), 1);
        assert_eq!(book.len(), 1);
    }

    #[test]
    fn a_batch_is_accepted_whole_or_not_at_all() {
        let mut book = book();
        let batch = [simple(2, "db"), simple(3, "web")];
        assert_eq!(submit(&mut book, &batch), Err(in_use(1)));
        assert_eq!(book.len(), 1);
        let twice = [simple(4, "db"), simple(5, "db")];
        let refusal = submit(&mut book, &twice).unwrap_err();
        let by_the_other = Refusal::NameInUse {
            name: name("db"),
            by: id(4),
        };
        assert_eq!(refusal, by_the_other);
    }

    #[test]
    fn a_name_is_unique_for_its_tenant_only() {
        let book = book();
        let other = Asked::at(TenantPath::new("other").unwrap());
        let jobs = book.submit(&other, &[simple(2, "web")], Wall(1));
        assert!(jobs.is_ok());
        assert!(book.find(&other, "web").is_err());
    }

    #[test]
    fn a_document_creates_changes_or_finds_nothing_to_do() {
        let web = |hash, replicas| draft(9, "web", vec![service("web", hash, replicas)]);
        let path_is_id = id(1).to_string();
        let unknown = id(5).to_string();
        let mismatch = |path: &str, document: &str| {
            Err(Refusal::PathMismatch {
                path: path.to_owned(),
                document: name(document),
            })
        };
        let table = [
            ("web", web(1, 1), Ok("same")),
            (path_is_id.as_str(), web(1, 1), Ok("same")),
            ("web", web(2, 1), Ok("changed")),
            ("web", web(1, 3), Ok("changed")),
            (path_is_id.as_str(), web(1, 3), Ok("changed")),
            ("db", simple(2, "db"), Ok("created")),
            ("web", simple(2, "db"), mismatch("web", "db")),
            ("db", web(1, 1), mismatch("db", "web")),
            (
                path_is_id.as_str(),
                simple(2, "db"),
                mismatch(&path_is_id, "db"),
            ),
            (
                unknown.as_str(),
                web(1, 1),
                Err(Refusal::NotFound(unknown.clone())),
            ),
            (
                "no name!",
                web(1, 1),
                Err(Refusal::NotFound("no name!".to_owned())),
            ),
        ];
        for (path, document, answer) in table {
            assert_eq!(put(&mut book(), path, &document), answer, "PUT {path}");
        }
    }

    #[test]
    fn a_changed_job_keeps_its_id_and_grows_its_generation() {
        let mut book = book();
        assert_eq!(
            put(
                &mut book,
                "web",
                &draft(9, "web", vec![service("web", 2, 1)])
            ),
            Ok("changed")
        );
        let job = book.find(&asked(), "web").unwrap();
        assert_eq!(
            (job.id, job.generation, job.created_at),
            (id(1), 2, Wall(7))
        );
    }

    #[test]
    fn only_a_changed_workload_makes_a_services_generation_follow() {
        let mut book = JobBook::default();
        let services = |a: (u8, u32), b: (u8, u32)| {
            draft(
                1,
                "web",
                vec![service("a", a.0, a.1), service("b", b.0, b.1)],
            )
        };
        submit(&mut book, &[services((1, 1), (1, 1))]).unwrap();
        let generations = |book: &JobBook| {
            let job = book.get(id(1)).unwrap();
            (
                job.generation,
                job.service_generation(&name("a")),
                job.service_generation(&name("b")),
            )
        };
        assert_eq!(generations(&book), (1, 1, 1));
        put(&mut book, "web", &services((1, 5), (1, 1))).unwrap();
        assert_eq!(generations(&book), (2, 1, 1), "replicas alone");
        done(&mut book);
        put(&mut book, "web", &services((1, 5), (2, 1))).unwrap();
        assert_eq!(generations(&book), (3, 1, 3), "another workload");
        done(&mut book);
        put(&mut book, "web", &draft(1, "web", vec![service("a", 1, 5)])).unwrap();
        done(&mut book);
        put(&mut book, "web", &services((1, 5), (2, 1))).unwrap();
        assert_eq!(generations(&book), (5, 1, 5), "left out, and back again");
    }

    #[test]
    fn a_deletion_frees_the_name_at_once_and_the_id_stays_findable() {
        let mut book = book();
        assert_eq!(delete(&mut book, "web", 10), Ok(id(1)));
        assert_eq!(
            book.find(&asked(), "web").err(),
            Some(Refusal::NotFound("web".to_owned()))
        );
        let deleted = book.find(&asked(), &id(1).to_string()).unwrap();
        assert_eq!(deleted.deleted_at, Some(Wall(10)));
        assert_eq!(deleted.slots().count(), 0);
        assert_eq!(submit(&mut book, &[simple(2, "web")]), Ok(vec![id(2)]));
        assert_eq!(book.find(&asked(), "web").map(|job| job.id), Ok(id(2)));
    }

    #[test]
    fn deleting_twice_by_id_is_the_same_answer_and_the_first_time_counts() {
        let mut book = book();
        let key = id(1).to_string();
        assert_eq!(delete(&mut book, &key, 10), Ok(id(1)));
        assert_eq!(delete(&mut book, &key, 20), Ok(id(1)));
        assert_eq!(book.get(id(1)).unwrap().deleted_at, Some(Wall(10)));
        assert_eq!(
            delete(&mut book, "web", 20),
            Err(Refusal::NotFound("web".to_owned()))
        );
    }

    #[test]
    fn deleting_an_old_job_again_leaves_the_name_to_the_new_one() {
        let mut book = book();
        delete(&mut book, "web", 10).unwrap();
        submit(&mut book, &[simple(2, "web")]).unwrap();
        delete(&mut book, &id(1).to_string(), 20).unwrap();
        assert_eq!(book.find(&asked(), "web").map(|job| job.id), Ok(id(2)));
        book.forget(id(1));
        assert_eq!(book.find(&asked(), "web").map(|job| job.id), Ok(id(2)));
        assert_eq!(submit(&mut book, &[simple(3, "web")]), Err(in_use(2)));
    }

    #[test]
    fn a_document_for_a_deleted_job_is_refused_by_id_and_creates_by_name() {
        let mut book = book();
        delete(&mut book, "web", 10).unwrap();
        let by_id = put(&mut book, &id(1).to_string(), &simple(2, "web"));
        assert_eq!(by_id, Err(Refusal::Deleted(id(1))));
        assert_eq!(put(&mut book, "web", &simple(2, "web")), Ok("created"));
    }

    #[test]
    fn jobs_are_listed_after_an_id() {
        let mut book = book();
        submit(&mut book, &[simple(2, "b"), simple(3, "c")]).unwrap();
        let after = |id| {
            let jobs = book
                .after(&TenantPath::root(), id)
                .map(|job| job.spec.name.to_string());
            jobs.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(after(None), "web b c");
        assert_eq!(after(Some(id(2))), "c");
        assert_eq!(after(Some(id(3))), "");
    }

    /// Decides a request and applies what it changes.
    fn ask(book: &mut JobBook, at: i64, request: &JobRequest) -> JobAnswer {
        let (writes, answer) = book.decide(&asked(), Wall(at), request, &|_| {
            std::collections::BTreeMap::new()
        });
        for write in writes {
            book.take(write);
        }
        answer
    }

    fn under_key(key: &str, body: u8, draft: Draft) -> JobRequest {
        JobRequest::Submit {
            drafts: vec![draft],
            key: Some(SubmitKey {
                key: key.to_owned(),
                body: [body; 32],
            }),
        }
    }

    #[test]
    fn a_submission_sent_again_under_its_key_makes_no_second_job() {
        let mut book = JobBook::default();
        let first = under_key("k", 1, simple(1, "web"));
        let again = under_key("k", 1, simple(2, "web"));
        assert_eq!(ask(&mut book, 0, &first), JobAnswer::Accepted(vec![id(1)]));
        assert_eq!(ask(&mut book, 9, &again), JobAnswer::Accepted(vec![id(1)]));
        assert_eq!(book.len(), 1);
        let other = under_key("k", 2, simple(3, "db"));
        let refused = JobAnswer::Refused(Refusal::KeyReused("k".to_owned()));
        assert_eq!(ask(&mut book, 9, &other), refused);
        assert_eq!(book.len(), 1);
    }

    #[test]
    fn a_refused_submission_leaves_its_key_free() {
        let mut book = book();
        let refused = ask(&mut book, 0, &under_key("k", 1, simple(2, "web")));
        assert_eq!(refused, JobAnswer::Refused(in_use(1)));
        let accepted = ask(&mut book, 1, &under_key("k", 2, simple(3, "db")));
        assert_eq!(accepted, JobAnswer::Accepted(vec![id(3)]));
    }

    #[test]
    fn keys_are_forgotten_after_a_day_and_beyond_their_number_the_oldest_first() {
        let day = JobBook::KEPT.as_millis() as i64;
        let mut book = JobBook::default();
        ask(&mut book, 0, &under_key("k", 1, simple(1, "web")));
        assert_eq!(book.expired_submission(Wall(day - 1)), None);
        assert_eq!(book.expired_submission(Wall(day)), Some("k"));
        // Not yet swept, but too old to be honoured.
        let late = ask(&mut book, day, &under_key("k", 2, simple(2, "db")));
        assert_eq!(late, JobAnswer::Accepted(vec![id(2)]));
        assert_eq!(book.expired_submission(Wall(day)), None);
        for number in 0..JobBook::KEYS as u128 {
            let draft = simple(10 + number, &format!("j{number}"));
            ask(
                &mut book,
                day + 1,
                &under_key(&format!("n{number}"), 1, draft),
            );
        }
        assert_eq!(book.submissions().count(), JobBook::KEYS);
        assert!(book.submissions().all(|known| known.key.key != "k"));
    }

    #[test]
    fn scaling_changes_the_replicas_of_one_service_and_nothing_else() {
        let mut book = JobBook::default();
        let services = vec![service("a", 1, 1), service("b", 2, 1)];
        submit(&mut book, &[draft(1, "web", services)]).unwrap();
        let mut scale = |service: Option<&str>, replicas| {
            let request = JobRequest::Scale {
                key: "web".to_owned(),
                service: service.map(name),
                replicas,
            };
            ask(&mut book, 1, &request)
        };
        assert_eq!(scale(Some("b"), 3), JobAnswer::Applied(id(1)));
        assert_eq!(scale(Some("b"), 3), JobAnswer::Applied(id(1)));
        let meanwhile = scale(Some("b"), 4);
        assert!(
            matches!(
                &meanwhile,
                JobAnswer::Refused(Refusal::OperationRunning { kind: "scale", .. })
            ),
            "{meanwhile:?}"
        );
        let unnamed = scale(None, 2);
        assert!(
            matches!(&unnamed, JobAnswer::Refused(Refusal::ServiceNeeded { services, .. }) if services == "a, b"),
            "{unnamed:?}"
        );
        let unknown = scale(Some("c"), 2);
        assert!(
            matches!(&unknown, JobAnswer::Refused(Refusal::NoSuchService { .. })),
            "{unknown:?}"
        );
        done(&mut book);
        let scale_down = JobRequest::Scale {
            key: "web".to_owned(),
            service: Some(name("a")),
            replicas: 0,
        };
        assert_eq!(ask(&mut book, 1, &scale_down), JobAnswer::Applied(id(1)));
        let job = book.get(id(1)).unwrap();
        let replicas: Vec<_> = job
            .spec
            .services
            .iter()
            .map(|known| known.replicas)
            .collect();
        assert_eq!(replicas, [0, 3]);
        assert_eq!(job.generation, 3);
        assert_eq!(job.service_generation(&name("b")), 1);
        delete(&mut book, "web", 10).unwrap();
        let gone = ask(
            &mut book,
            11,
            &JobRequest::Scale {
                key: id(1).to_string(),
                service: Some(name("a")),
                replicas: 1,
            },
        );
        assert_eq!(gone, JobAnswer::Refused(Refusal::Deleted(id(1))));
    }

    fn migrate(instance: Option<&str>, cluster: Option<&str>) -> JobRequest {
        JobRequest::Migrate {
            key: "web".to_owned(),
            instance: instance.map(str::to_owned),
            cluster: cluster.map(str::to_owned),
            worker: None,
            strategy: None,
        }
    }

    fn slot(index: u32) -> Slot {
        Slot {
            job: id(1),
            service: name("a"),
            index,
        }
    }

    /// Two of three slots have a copy.
    fn two_copies(_: &Job) -> BTreeMap<Slot, InstanceId> {
        (0..2)
            .map(|index| (slot(index), InstanceId::from_bits(u128::from(index) + 7)))
            .collect()
    }

    fn replaced(book: &mut JobBook, request: &JobRequest) -> Result<Vec<u32>, Refusal> {
        let (writes, answer) = book.decide(&asked(), Wall(9), request, &two_copies);
        for write in writes {
            book.take(write);
        }
        match answer {
            JobAnswer::Replacing(of) => {
                let operation = book.get(of).unwrap().running().unwrap();
                Ok(operation.replaces.keys().map(|slot| slot.index).collect())
            }
            JobAnswer::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_migration_names_the_copies_that_it_replaces_and_is_the_only_operation() {
        let mut book = JobBook::default();
        submit(&mut book, &[draft(1, "web", vec![service("a", 1, 3)])]).unwrap();
        let unknown = replaced(&mut book, &migrate(Some("a/2"), None));
        assert!(
            matches!(unknown, Err(Refusal::NoSuchInstance { .. })),
            "{unknown:?}"
        );
        assert_eq!(
            replaced(&mut book, &migrate(Some("a/1"), None)),
            Ok(vec![1])
        );
        let again = replaced(&mut book, &migrate(None, None));
        assert!(
            matches!(
                again,
                Err(Refusal::OperationRunning {
                    kind: "migrate",
                    ..
                })
            ),
            "{again:?}"
        );
        let changed = put(&mut book, "web", &draft(1, "web", vec![service("a", 2, 3)]));
        assert!(
            matches!(changed, Err(Refusal::OperationRunning { .. })),
            "{changed:?}"
        );
        assert_eq!(
            put(&mut book, "web", &draft(1, "web", vec![service("a", 1, 3)])),
            Ok("same")
        );
        done(&mut book);
        let by_id = InstanceId::from_bits(7).to_string();
        assert_eq!(
            replaced(&mut book, &migrate(Some(&by_id), None)),
            Ok(vec![0])
        );
        assert_eq!(
            delete(&mut book, "web", 10),
            Ok(id(1)),
            "a deletion always wins"
        );
    }

    #[test]
    fn what_a_document_pins_is_not_migrated() {
        let mut book = JobBook::default();
        let mut pinned = service("a", 1, 3);
        Arc::make_mut(&mut pinned).placement.cluster = Some("munich".to_owned());
        submit(&mut book, &[draft(1, "web", vec![pinned])]).unwrap();
        let elsewhere = replaced(&mut book, &migrate(None, Some("bonn")));
        assert!(
            matches!(
                elsewhere,
                Err(Refusal::Pinned {
                    what: "cluster",
                    ..
                })
            ),
            "{elsewhere:?}"
        );
        assert_eq!(
            replaced(&mut book, &migrate(None, Some("munich"))),
            Ok(vec![0, 1])
        );
        done(&mut book);
        let mut pinned = service("a", 1, 3);
        Arc::make_mut(&mut pinned).placement.worker = Some("e580".to_owned());
        put(&mut book, "web", &draft(1, "web", vec![pinned])).unwrap();
        done(&mut book);
        let away = replaced(&mut book, &migrate(None, None));
        assert!(
            matches!(away, Err(Refusal::Pinned { what: "worker", .. })),
            "{away:?}"
        );
    }

    #[test]
    fn an_update_that_failed_is_tried_again_by_the_same_document_or_rolled_back() {
        let mut book = JobBook::default();
        submit(&mut book, &[draft(1, "web", vec![service("a", 1, 3)])]).unwrap();
        let mut changed = service("a", 2, 3);
        Arc::make_mut(&mut changed).takeover.on_failure = OnFailure::Rollback;
        let changed = draft(1, "web", vec![changed]);
        put(&mut book, "web", &changed).unwrap();
        let mut job = book.get(id(1)).unwrap().clone();
        let operation = job.running().unwrap().clone();
        let slot = job.slots().next().unwrap();
        let reason = Reason::new(ReasonCode::CrashLoop, "it ended");
        let back = model::book::failed(&job, &slot, &reason, Wall(9)).unwrap();
        let cause = back.running().and_then(|back| back.cause.clone());
        assert_eq!(cause.unwrap().message, "a/0: it ended");
        assert_eq!(
            back.spec.services,
            draft(1, "web", vec![service("a", 1, 3)]).spec.services
        );
        assert_eq!(
            back.running().map(|operation| operation.kind),
            Some(OperationKind::Rollback)
        );
        assert_eq!(back.service_generation(&name("a")), 3);
        job.operation = Some(operation.ended(Progress::Failed(reason)));
        book.apply(job);
        assert_eq!(put(&mut book, "web", &changed), Ok("changed"));
        assert_eq!(put(&mut book, "web", &changed), Ok("same"), "while it runs");
    }
}
